package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/httpget"
	"github.com/proa-project/proa/internal/node/podlife"
)

// runHook runs a lifecycle hook to its end.
func (e *Executor) runHook(ctx context.Context, r Request) error {
	c, err := spec(r.Pod, r.Action.Container)
	if err != nil {
		return err
	}
	h, err := handlerOf(c, r.Action.Hook)
	if err != nil {
		return err
	}
	switch {
	case h.Exec != nil:
		return e.execHook(ctx, r, c, h.Exec)
	case h.HTTPGet != nil:
		return e.httpHook(ctx, r, c, h.HTTPGet)
	case h.Sleep != nil:
		return e.sleepHook(ctx, r, c, h.Sleep.Seconds)
	}
	// tcpSocket is accepted by the API, but never was a hook.
	return fmt.Errorf("Cannot run handler: invalid handler: %v", h)
}

func handlerOf(c *v1.Container, name podlife.HookName) (*v1.LifecycleHandler, error) {
	if c.Lifecycle != nil {
		h := c.Lifecycle.PreStop
		if name == podlife.PostStart {
			h = c.Lifecycle.PostStart
		}
		if h != nil {
			return h, nil
		}
	}
	return nil, fmt.Errorf("container %s has no %s hook", c.Name, name)
}

func (e *Executor) execHook(ctx context.Context, r Request, c *v1.Container, a *v1.ExecAction) error {
	fail := func(err error, output string) error {
		return fmt.Errorf("Exec lifecycle hook (%v) for Container %q in Pod %q failed - error: %v, message: %q",
			a.Command, c.Name, podName(r.Pod), err, output)
	}
	resp, err := e.Runtime.ExecSync(ctx, &runtimeapi.ExecSyncRequest{
		ContainerId: r.Action.ContainerID, Cmd: a.Command, Timeout: int64((r.Action.Grace + time.Second - 1) / time.Second),
	})
	if err != nil {
		return fail(errors.New(message(err)), "")
	}
	if resp.ExitCode != 0 {
		return fail(fmt.Errorf("command '%s' exited with %d: %s", strings.Join(a.Command, " "), resp.ExitCode, resp.Stderr),
			string(append(resp.Stdout, resp.Stderr...)))
	}
	return nil
}

// httpHook: any answer is a success, as upstream has it.
func (e *Executor) httpHook(ctx context.Context, r Request, c *v1.Container, a *v1.HTTPGetAction) error {
	if err := e.ask(ctx, r.Pod, c, a); err != nil {
		return fmt.Errorf("HTTP lifecycle hook (%s) for Container %q in Pod %q failed - error: %w", a.Path, c.Name, podName(r.Pod), err)
	}
	return nil
}

func (e *Executor) ask(ctx context.Context, pod *v1.Pod, c *v1.Container, a *v1.HTTPGetAction) error {
	if a.Host == "" && pod.Status.PodIP == "" {
		return errors.New("the pod has no address")
	}
	request, err := httpget.Request(ctx, a, c, pod.Status.PodIP, "lifecycle")
	if err != nil {
		return err
	}
	err = e.send(request)
	if !answeredInClear(err) {
		return err
	}
	// Hooks with the scheme HTTPS used to be asked in clear, and manifests rely on it.
	request = request.Clone(ctx)
	request.URL.Scheme = "http"
	request.Header.Del("Authorization")
	if e.send(request) != nil {
		return err
	}
	e.Event(pod, podlife.Event{
		Warning: true, Reason: "LifecycleHTTPFallback",
		Message: fmt.Sprintf("request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", request.URL.Host),
	})
	return nil
}

func (e *Executor) send(request *http.Request) error {
	response, err := e.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 10<<10) // so that the server can finish
	return nil
}

func answeredInClear(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

func (e *Executor) sleepHook(ctx context.Context, r Request, c *v1.Container, seconds int64) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("Sleep lifecycle hook (%d) for Container %q in Pod %q failed - error: container terminated before sleep hook finished",
			seconds, c.Name, podName(r.Pod))
	case <-e.Clock.After(time.Duration(seconds) * time.Second):
		return nil
	}
}

func podName(pod *v1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}
