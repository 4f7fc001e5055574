package subresource

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	"k8s.io/apiserver/pkg/registry/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Pods is what the connecting subresources of pods have in common.
type Pods struct {
	Store      rest.Getter
	Kubelet    *Kubelet
	Authorizer authorizer.UnconditionalAuthorizer
}

func (p Pods) get(ctx context.Context, name string) (*corev1.Pod, error) {
	obj, err := p.Store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}

// Log streams a container's log from its node.
type Log struct{ Pods }

var _ rest.GetterWithOptions = Log{}
var _ rest.StorageMetadata = Log{}

func (Log) New() runtime.Object                            { return &corev1.Pod{} }
func (Log) Destroy()                                       {}
func (Log) NewGetOptions() (runtime.Object, bool, string)  { return &corev1.PodLogOptions{}, false, "" }
func (Log) ProducesMIMETypes(string) []string              { return []string{"text/plain"} }
func (Log) ProducesObject(string) any                      { return "" }
func (Log) OverrideMetricsVerb(verb string) (other string) { return connectIf(verb == "GET", verb) }

func connectIf(yes bool, verb string) string {
	if yes {
		return "CONNECT"
	}
	return verb
}

func (l Log) Get(ctx context.Context, name string, opts runtime.Object) (runtime.Object, error) {
	o := opts.(*corev1.PodLogOptions)
	if errs := checkLogOptions(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, name, errs)
	}
	pod, err := l.get(ctx, name)
	if err != nil {
		return nil, err
	}
	path, err := logPath(pod, o)
	if err != nil {
		return nil, err
	}
	streamer := &genericrest.LocationStreamer{
		ContentType:     "text/plain",
		Flush:           o.Follow,
		ResponseChecker: genericrest.NewGenericHttpResponseChecker(schema.GroupResource{Resource: "pods/log"}, name),
		RedirectChecker: genericrest.PreventRedirects,
	}
	if pod.Spec.NodeName == "" {
		return streamer, nil // no place yet: an empty log
	}
	if streamer.Location, err = l.Kubelet.at(ctx, pod.Spec.NodeName, path); err != nil {
		return nil, err
	}
	streamer.Transport = l.Kubelet.transport
	if o.InsecureSkipTLSVerifyBackend {
		streamer.Transport = l.Kubelet.insecure
	}
	return streamer, nil
}

func checkLogOptions(o *corev1.PodLogOptions) (errs field.ErrorList) {
	if o.TailLines != nil && *o.TailLines < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *o.TailLines, "must be greater than or equal to 0"))
	}
	if o.LimitBytes != nil && *o.LimitBytes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *o.LimitBytes, "must be greater than 0"))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, "must be greater than 0"))
	}
	if o.Stream != nil {
		switch *o.Stream {
		case corev1.LogStreamStdout, corev1.LogStreamStderr:
			if o.TailLines != nil {
				errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
			}
		case corev1.LogStreamAll:
		default:
			errs = append(errs, field.NotSupported(field.NewPath("stream"), *o.Stream,
				[]string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}))
		}
	}
	return errs
}

// stream is a subresource that upgrades its connection and lets the node serve it.
type stream struct {
	Pods
	object  func() runtime.Object
	locate  func(*corev1.Pod, runtime.Object) (*url.URL, error)
	upgrade func(handler http.Handler, u *url.URL, t http.RoundTripper, opts runtime.Object) http.Handler
}

var _ rest.Connecter = stream{}

// Exec runs a command in a container.
func Exec(p Pods) rest.Storage {
	return stream{p, func() runtime.Object { return &corev1.PodExecOptions{} },
		func(pod *corev1.Pod, o runtime.Object) (*url.URL, error) {
			return execPath(pod, o.(*corev1.PodExecOptions))
		},
		func(h http.Handler, u *url.URL, t http.RoundTripper, opts runtime.Object) http.Handler {
			o := opts.(*corev1.PodExecOptions)
			return translating(h, u, t, translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY})
		}}
}

// Attach joins the streams of a running container.
func Attach(p Pods) rest.Storage {
	return stream{p, func() runtime.Object { return &corev1.PodAttachOptions{} },
		func(pod *corev1.Pod, o runtime.Object) (*url.URL, error) {
			return attachPath(pod, o.(*corev1.PodAttachOptions))
		},
		func(h http.Handler, u *url.URL, t http.RoundTripper, opts runtime.Object) http.Handler {
			o := opts.(*corev1.PodAttachOptions)
			return translating(h, u, t, translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY})
		}}
}

// PortForward carries TCP to ports of a pod.
func PortForward(p Pods) rest.Storage {
	return stream{p, func() runtime.Object { return &corev1.PodPortForwardOptions{} },
		func(pod *corev1.Pod, o runtime.Object) (*url.URL, error) {
			return portForwardPath(pod, o.(*corev1.PodPortForwardOptions)), nil
		},
		func(h http.Handler, _ *url.URL, _ http.RoundTripper, _ runtime.Object) http.Handler {
			return translator.NewTranslatingHandler(h, translator.NewTunnelingHandler(h), wsstream.IsWebSocketRequestWithTunnelingProtocol)
		}}
}

// translating speaks SPDY to the node for clients that came with WebSockets.
func translating(h http.Handler, u *url.URL, t http.RoundTripper, o translator.Options) http.Handler {
	return translator.NewTranslatingHandler(h, translator.NewStreamTranslatorHandler(u, t, 0, o), wsstream.IsWebSocketRequestWithStreamCloseProtocol)
}

func (s stream) New() runtime.Object                               { return s.object() }
func (stream) Destroy()                                            {}
func (stream) ConnectMethods() []string                            { return []string{"GET", "POST"} }
func (s stream) NewConnectOptions() (runtime.Object, bool, string) { return s.object(), false, "" }

func (s stream) Connect(ctx context.Context, name string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	if err := s.mayCreate(ctx); err != nil {
		return nil, err
	}
	pod, err := s.get(ctx, name)
	if err != nil {
		return nil, err
	}
	path, err := s.locate(pod, opts)
	if err != nil {
		return nil, err
	}
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", name))
	}
	location, err := s.Kubelet.at(ctx, pod.Spec.NodeName, path)
	if err != nil {
		return nil, err
	}
	h := proxy.NewUpgradeAwareHandler(location, s.Kubelet.transport, false, true, proxy.NewErrorResponder(responder))
	return s.upgrade(h, location, s.Kubelet.transport, opts), nil
}

// mayCreate: a WebSocket opens with GET, but running a command needs the right
// to create, whatever the handshake's method.
func (s stream) mayCreate(ctx context.Context) error {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok || info.Verb == "create" || s.Authorizer == nil {
		return nil
	}
	user, _ := request.UserFrom(ctx)
	a := authorizer.AttributesRecord{
		User: user, Verb: "create", Namespace: info.Namespace, APIGroup: info.APIGroup, APIVersion: info.APIVersion,
		Resource: info.Resource, Subresource: info.Subresource, Name: info.Name, ResourceRequest: true, Path: info.Path,
	}
	decision, reason, err := s.Authorizer.Authorize(ctx, a)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	gr := schema.GroupResource{Resource: info.Resource + "/" + info.Subresource}
	return apierrors.NewForbidden(gr, info.Name, fmt.Errorf("user %q cannot create it: %s", user.GetName(), reason))
}
