package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/httpapi/podlog"
)

// endPoll is how often a container is asked whether it still runs while its log is followed and nothing comes.
const endPoll = 200 * time.Millisecond

func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	opts, previous, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"message": %q}`, err), http.StatusBadRequest)
		return
	}
	podName, container := r.PathValue("pod"), r.PathValue("container")
	pod, ok := s.cfg.Pods.Pod(r.PathValue("namespace"), podName)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", podName), http.StatusNotFound)
		return
	}
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", container, podName), http.StatusNotFound)
		return
	}
	id, err := loggedContainer(pod, container, previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.sendLog(r.Context(), w, id, opts); err != nil && r.Context().Err() == nil {
		s.cfg.Log.Warn("log not sent whole", "pod", pod.Namespace+"/"+pod.Name, "container", container, "err", err)
	}
}

func (s *Server) sendLog(ctx context.Context, w http.ResponseWriter, id string, opts podlog.Options) error {
	status, err := s.cfg.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		err = fmt.Errorf("failed to get container status %q: %w", id, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return err
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	out := &flushingWriter{w, http.NewResponseController(w)}
	// A follower sees that it is connected before the first line comes.
	out.Flush()
	var ended <-chan struct{}
	if opts.Follow {
		watch, stop := context.WithCancel(ctx)
		defer stop()
		ended = s.ended(watch, id)
	}
	return podlog.Read(ctx, status.GetStatus().GetLogPath(), opts, out, ended)
}

type flushingWriter struct {
	io.Writer
	control *http.ResponseController
}

// Flush sends on what is buffered; a writer that can't is one that doesn't buffer.
func (f *flushingWriter) Flush() { _ = f.control.Flush() }

// ended closes the channel once the container no longer runs.
func (s *Server) ended(ctx context.Context, id string) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		tick := time.NewTicker(endPoll)
		defer tick.Stop()
		for {
			status, err := s.cfg.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
			if err != nil || status.GetStatus().GetState() == runtimeapi.ContainerState_CONTAINER_EXITED {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return out
}

// logOptions reads the query as PodLogOptions are written into one.
func logOptions(q url.Values, now time.Time) (opts podlog.Options, previous bool, err error) {
	number := func(name string) *int64 {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		n, parseErr := strconv.ParseInt(text, 10, 64)
		if parseErr != nil || n < 0 {
			err = errors.Join(err, fmt.Errorf("%s: %q is no number", name, text))
		}
		return &n
	}
	flag := func(name string) bool {
		text := q.Get(name)
		if text == "" {
			return q.Has(name)
		}
		on, parseErr := strconv.ParseBool(text)
		if parseErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %q is neither true nor false", name, text))
		}
		return on
	}
	opts = podlog.Options{Tail: number("tailLines"), Limit: number("limitBytes"), Timestamps: flag("timestamps"), Follow: flag("follow")}
	previous = flag("previous")
	if seconds := number("sinceSeconds"); seconds != nil {
		opts.Since = now.Add(-time.Duration(*seconds) * time.Second)
	}
	if text := q.Get("sinceTime"); text != "" {
		since, parseErr := time.Parse(time.RFC3339Nano, text)
		if parseErr != nil {
			err = errors.Join(err, fmt.Errorf("sinceTime: %w", parseErr))
		}
		opts.Since = since
	}
	switch stream := q.Get("stream"); stream {
	case "", v1.LogStreamAll:
	case v1.LogStreamStdout:
		opts.NoStderr = true
	case v1.LogStreamStderr:
		opts.NoStdout = true
	default:
		err = errors.Join(err, fmt.Errorf("invalid stream type %q", stream))
	}
	return opts, previous, err
}

// loggedContainer finds the ID of the instance whose log is meant: the running one, else the last that ran.
func loggedContainer(pod *v1.Pod, name string, previous bool) (string, error) {
	status := containerStatus(pod, name)
	if status == nil {
		return "", fmt.Errorf("container %q in pod %q is not available", name, pod.Name)
	}
	id := ""
	last, state := status.LastTerminationState.Terminated, status.State
	switch {
	case previous:
		if last == nil || last.ContainerID == "" {
			return "", fmt.Errorf("previous terminated container %q in pod %q not found", name, pod.Name)
		}
		id = last.ContainerID
	case state.Running != nil:
		id = status.ContainerID
	case state.Terminated != nil && state.Terminated.ContainerID != "":
		id = state.Terminated.ContainerID
	case last != nil && last.ContainerID != "":
		// The next instance didn't start, or waits for its back-off.
		id = last.ContainerID
	case state.Terminated != nil || last != nil:
		return "", fmt.Errorf("container %q in pod %q is terminated", name, pod.Name)
	case state.Waiting != nil:
		return "", fmt.Errorf("container %q in pod %q is waiting to start: %s", name, pod.Name, waitingFor(state.Waiting.Reason))
	default:
		return "", fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", name, pod.Name)
	}
	// "proa://0123…": the runtime knows the part after its name.
	if _, bare, found := strings.Cut(id, "://"); found {
		id = bare
	}
	return id, nil
}

func waitingFor(reason string) string {
	switch reason {
	case "ErrImagePull":
		return "image can't be pulled"
	case "ImagePullBackOff":
		return "trying and failing to pull image"
	}
	return reason
}

func containerStatus(pod *v1.Pod, name string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		if i := slices.IndexFunc(list, func(s v1.ContainerStatus) bool { return s.Name == name }); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

// containerSpec finds a container of any kind; nil if there is none.
func containerSpec(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		if i := slices.IndexFunc(list, func(c v1.Container) bool { return c.Name == name }); i >= 0 {
			return &list[i]
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			return (*v1.Container)(&c.EphemeralContainerCommon)
		}
	}
	return nil
}

func hasContainer(pod *v1.Pod, name string) bool { return containerSpec(pod, name) != nil }
