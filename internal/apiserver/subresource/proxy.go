package subresource

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Proxy carries HTTP to what id ("name", "name:port", "scheme:name:port") stands for.
type Proxy struct {
	object func() runtime.Object
	path   func(runtime.Object) string
	locate func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error)
}

var _ rest.Connecter = Proxy{}

var proxyMethods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

func (p Proxy) New() runtime.Object                               { return p.object() }
func (Proxy) Destroy()                                            {}
func (Proxy) ConnectMethods() []string                            { return proxyMethods }
func (p Proxy) NewConnectOptions() (runtime.Object, bool, string) { return p.object(), true, "path" }

func (p Proxy) Connect(ctx context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	location, transport, err := p.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	location.Path = utilnet.JoinPreservingTrailingSlash(location.Path, p.path(opts))
	return proxy.NewUpgradeAwareHandler(location, transport, true, false, proxy.NewErrorResponder(responder)), nil
}

// plainTransport reaches pods and services. It doesn't verify certificates:
// there is nothing to verify them with, as upstream has it.
func plainTransport() *http.Transport {
	return transportWith(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // see above
}

// NodeProxy speaks to a node's agent, or to another port of the node.
func NodeProxy(k *Kubelet) rest.Storage {
	plain := plainTransport()
	return Proxy{
		object: func() runtime.Object { return &corev1.NodeProxyOptions{} },
		path:   func(o runtime.Object) string { return o.(*corev1.NodeProxyOptions).Path },
		locate: func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
			scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
			if !ok {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", id))
			}
			u, err := k.at(ctx, name, &url.URL{})
			if err != nil || port == "" || port == u.Port() {
				return u, k.transport, err
			}
			return &url.URL{Scheme: scheme, Host: net.JoinHostPort(u.Hostname(), port)}, plain, nil
		},
	}
}

// PodProxy speaks to a port of a pod.
func PodProxy(pods rest.Getter) rest.Storage {
	plain := plainTransport()
	return Proxy{
		object: func() runtime.Object { return &corev1.PodProxyOptions{} },
		path:   func(o runtime.Object) string { return o.(*corev1.PodProxyOptions).Path },
		locate: func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
			scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
			if !ok {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", id))
			}
			obj, err := pods.Get(ctx, name, &metav1.GetOptions{})
			if err != nil {
				return nil, nil, err
			}
			host, err := podHost(obj.(*corev1.Pod), port)
			return &url.URL{Scheme: scheme, Host: host}, plain, err
		},
	}
}

// podHost is the pod's address with port, or with its first declared one.
func podHost(pod *corev1.Pod, port string) (string, error) {
	for i := 0; port == "" && i < len(pod.Spec.Containers); i++ {
		if ports := pod.Spec.Containers[i].Ports; len(ports) > 0 {
			port = strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	ip := pod.Status.PodIP
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	if err := proxyable(ip); err != nil {
		return "", err
	}
	if port == "" {
		if strings.Contains(ip, ":") {
			return "[" + ip + "]", nil
		}
		return ip, nil
	}
	return net.JoinHostPort(ip, port), nil
}

// proxyable refuses to be led to the server's own loopback and the like.
func proxyable(ip string) error {
	a, err := netip.ParseAddr(ip)
	if err != nil || !a.IsGlobalUnicast() {
		return apierrors.NewBadRequest("address not allowed")
	}
	return nil
}

// ServiceProxy speaks to a ready endpoint of a service, picked at random.
func ServiceProxy(services, pods rest.Getter, slices rest.Lister) rest.Storage {
	plain := plainTransport()
	return Proxy{
		object: func() runtime.Object { return &corev1.ServiceProxyOptions{} },
		path:   func(o runtime.Object) string { return o.(*corev1.ServiceProxyOptions).Path },
		locate: func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
			scheme, name, port, ok := utilnet.SplitSchemeNamePort(id)
			if !ok {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", id))
			}
			obj, err := services.Get(ctx, name, &metav1.GetOptions{})
			if err != nil {
				return nil, nil, err
			}
			portName, err := servicePort(obj.(*corev1.Service), port)
			if err != nil {
				return nil, nil, err
			}
			list, err := slices.List(ctx, &metainternalversion.ListOptions{
				LabelSelector: labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})})
			if err != nil {
				return nil, nil, err
			}
			candidates := endpoints(list.(*discoveryv1.EndpointSliceList).Items, portName, request.NamespaceValue(ctx))
			rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
			for _, c := range candidates {
				if isAddressOf(ctx, pods, c) {
					return &url.URL{Scheme: scheme, Host: c.host}, plain, nil
				}
			}
			return nil, nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
		},
	}
}

// servicePort is the name of the port that is meant by a number or name.
func servicePort(s *corev1.Service, port string) (string, error) {
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return port, nil
	}
	for _, p := range s.Spec.Ports {
		if int64(p.Port) == number {
			return p.Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, s.Name))
}

type endpoint struct{ host, address, pod string }

// endpoints lists the ready pod endpoints that have the named port.
func endpoints(slices []discoveryv1.EndpointSlice, port, namespace string) (out []endpoint) {
	for _, s := range slices {
		number := int32(0)
		for _, p := range s.Ports {
			if p.Port != nil && (p.Name == nil && port == "" || p.Name != nil && *p.Name == port) {
				number = *p.Port
			}
		}
		if number == 0 {
			continue
		}
		for _, e := range s.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if !ready || len(e.Addresses) == 0 || e.TargetRef == nil || e.TargetRef.Namespace != namespace {
				continue
			}
			out = append(out, endpoint{net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(number))), e.Addresses[0], e.TargetRef.Name})
		}
	}
	return out
}

// isAddressOf: endpoints are written by users too; only real pods are proxied to.
func isAddressOf(ctx context.Context, pods rest.Getter, e endpoint) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	obj, err := pods.Get(ctx, e.pod, &metav1.GetOptions{})
	if err != nil {
		return false
	}
	for _, ip := range obj.(*corev1.Pod).Status.PodIPs {
		if ip.IP == e.address {
			return true
		}
	}
	return false
}
