package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Labels that node agents put on sandboxes and containers; all that speak CRI agree on them.
const (
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
)

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, ok := s.target(w, r)
	if !ok {
		return
	}
	id, err := s.runningContainer(r.Context(), pod, r.PathValue("container"))
	if err != nil {
		writeStreamError(w, err)
		return
	}
	answer, err := s.cfg.Runtime.Exec(r.Context(), &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: r.URL.Query()["command"], Tty: opts.TTY, Stdin: opts.Stdin, Stdout: opts.Stdout, Stderr: opts.Stderr,
	})
	s.command(w, r, opts, answer.GetUrl(), err)
}

func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, ok := s.target(w, r)
	if !ok {
		return
	}
	name := r.PathValue("container")
	id, err := s.runningContainer(r.Context(), pod, name)
	if err != nil {
		writeStreamError(w, fmt.Errorf("container %s not found in pod %s_%s", name, pod.Name, pod.Namespace))
		return
	}
	// Whether there is a terminal was settled when the container was made.
	tty := false
	if spec := containerSpec(pod, name); spec != nil {
		tty = spec.TTY
	}
	answer, err := s.cfg.Runtime.Attach(r.Context(), &runtimeapi.AttachRequest{
		ContainerId: id, Tty: tty, Stdin: opts.Stdin, Stdout: opts.Stdout, Stderr: opts.Stderr && !tty,
	})
	s.command(w, r, opts, answer.GetUrl(), err)
}

// command passes an exec or attach on to where the runtime serves it. Version 5 of the WebSocket protocol, which runtimes need
// not speak, is translated to SPDY.
func (s *Server) command(w http.ResponseWriter, r *http.Request, opts *remotecommand.Options, location string, err error) {
	target, ok := s.location(w, location, err)
	if !ok {
		return
	}
	var handler http.Handler = s.upgrade(target)
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		handler = translator.NewStreamTranslatorHandler(target, nil, 0, translator.Options{Stdin: opts.Stdin, Stdout: opts.Stdout, Stderr: opts.Stderr, Tty: opts.TTY})
	}
	handler.ServeHTTP(w, r)
}

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	tunnel := wsstream.IsWebSocketRequestWithTunnelingProtocol(r)
	opts := &portforward.V4Options{}
	if !tunnel {
		var err error
		if opts, err = portforward.NewV4Options(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	pod, ok := s.target(w, r)
	if !ok {
		return
	}
	id, err := s.runningSandbox(r.Context(), pod)
	if err != nil {
		writeStreamError(w, err)
		return
	}
	answer, err := s.cfg.Runtime.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: id, Port: opts.Ports})
	target, ok := s.location(w, answer.GetUrl(), err)
	if !ok {
		return
	}
	var handler http.Handler = s.upgrade(target)
	if tunnel {
		handler = translator.NewTunnelingHandler(handler)
	}
	handler.ServeHTTP(w, r)
}

// run is exec without streams: it answers with the output, standard error after standard output.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	pod, ok := s.target(w, r)
	if !ok {
		return
	}
	id, err := s.runningContainer(r.Context(), pod, r.PathValue("container"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := s.cfg.Runtime.ExecSync(r.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: strings.Split(r.FormValue("cmd"), " ")})
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case answer.GetExitCode() != 0:
		http.Error(w, fmt.Sprintf("command terminated with exit code %d: %s%s", answer.GetExitCode(), answer.GetStdout(), answer.GetStderr()), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(answer.GetStdout(), answer.GetStderr()...))
	}
}

// target finds the pod that a path names.
func (s *Server) target(w http.ResponseWriter, r *http.Request) (*v1.Pod, bool) {
	pod, ok := s.cfg.Pods.Pod(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return nil, false
	}
	if uid := r.PathValue("uid"); uid != "" && string(pod.UID) != uid {
		http.Error(w, "pod not found", http.StatusNotFound)
		return nil, false
	}
	return pod, true
}

// runningContainer asks the runtime, which knows before any status does.
func (s *Server) runningContainer(ctx context.Context, pod *v1.Pod, name string) (string, error) {
	answer, err := s.cfg.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State:         &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
		LabelSelector: map[string]string{labelPodUID: string(pod.UID), labelContainerName: name},
	}})
	if err != nil {
		return "", err
	}
	var newest *runtimeapi.Container
	for _, c := range answer.GetContainers() {
		if newest == nil || c.GetCreatedAt() > newest.GetCreatedAt() {
			newest = c
		}
	}
	if newest == nil {
		return "", fmt.Errorf("container not found (%q)", name)
	}
	return newest.GetId(), nil
}

func (s *Server) runningSandbox(ctx context.Context, pod *v1.Pod) (string, error) {
	answer, err := s.cfg.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		State:         &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{labelPodUID: string(pod.UID)},
	}})
	if err != nil {
		return "", err
	}
	var newest *runtimeapi.PodSandbox
	for _, sandbox := range answer.GetItems() {
		if newest == nil || sandbox.GetCreatedAt() > newest.GetCreatedAt() {
			newest = sandbox
		}
	}
	if newest == nil {
		return "", fmt.Errorf("pod not found (%q)", pod.Name+"_"+pod.Namespace)
	}
	return newest.GetId(), nil
}

func (s *Server) location(w http.ResponseWriter, location string, err error) (*url.URL, bool) {
	if err != nil {
		writeStreamError(w, err)
		return nil, false
	}
	target, err := url.Parse(location)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, false
	}
	return target, true
}

func (s *Server) upgrade(target *url.URL) http.Handler {
	return proxy.NewUpgradeAwareHandler(target, nil, false, true, proxyErrors{s})
}

// writeStreamError gives a runtime's error the HTTP status that clients know it by; one that can't be sent has no reader.
func writeStreamError(w http.ResponseWriter, err error) { _ = streaming.WriteError(err, w) }

type proxyErrors struct{ s *Server }

var _ proxy.ErrorResponder = proxyErrors{}

func (p proxyErrors) Error(w http.ResponseWriter, r *http.Request, err error) {
	p.s.cfg.Log.Warn("stream not passed on", "path", r.URL.Path, "err", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
