package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

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
		return e.sleepHook(ctx, h.Sleep.Seconds)
	}
	// tcpSocket is accepted by the API, but never was a hook.
	return errors.New("Cannot run handler: invalid handler")
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
	fail := func(err error) error {
		return fmt.Errorf("HTTP lifecycle hook (%s) for Container %q in Pod %q failed - error: %v", a.Path, c.Name, podName(r.Pod), err)
	}
	target, err := hookURL(r.Pod, c, a)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return fail(err)
	}
	for _, h := range a.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
		req.Header.Add(h.Name, h.Value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "kube-lifecycle")
	}
	resp, err := e.HTTP.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 10<<10) // so that the server can finish
	return nil
}

func hookURL(pod *v1.Pod, c *v1.Container, a *v1.HTTPGetAction) (string, error) {
	host := a.Host
	if host == "" {
		host = pod.Status.PodIP
	}
	if host == "" {
		return "", errors.New("the pod has no address")
	}
	port, err := portOf(c, a.Port)
	if err != nil {
		return "", err
	}
	u, err := url.Parse("/" + strings.TrimPrefix(a.Path, "/"))
	if err != nil {
		return "", err
	}
	u.Scheme, u.Host = "http", net.JoinHostPort(host, strconv.Itoa(port))
	if a.Scheme == v1.URISchemeHTTPS {
		u.Scheme = "https"
	}
	return u.String(), nil
}

func portOf(c *v1.Container, p intstr.IntOrString) (int, error) {
	if p.Type == intstr.Int {
		return int(p.IntVal), nil
	}
	for _, have := range c.Ports {
		if have.Name == p.StrVal {
			return int(have.ContainerPort), nil
		}
	}
	if n, err := strconv.Atoi(p.StrVal); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("container has no port %q", p.StrVal)
}

func (e *Executor) sleepHook(ctx context.Context, seconds int64) error {
	select {
	case <-ctx.Done():
		return errors.New("container terminated before sleep hook finished")
	case <-e.Clock.After(time.Duration(seconds) * time.Second):
		return nil
	}
}

func podName(pod *v1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}
