package crifake

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// ServeStreams starts the streaming server on loopback, for Exec, Attach and
// PortForward; without it they are unimplemented. forward serves port-forwards
// and may be nil.
func (r *Runtime) ServeStreams(forward func(ctx context.Context, sandboxID string, port int32, conn io.ReadWriteCloser) error) (stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cfg := streaming.DefaultConfig
	cfg.Addr = ln.Addr().String()
	cfg.BaseURL = &url.URL{Scheme: "http", Host: cfg.Addr}
	srv, err := streaming.NewServer(cfg, &streams{r: r, forward: forward})
	if err != nil {
		ln.Close()
		return nil, err
	}
	web, done := &http.Server{Handler: srv}, make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(ln) // always ErrServerClosed: Close is the only end
	}()
	r.mu.Lock()
	r.streaming = srv
	r.mu.Unlock()
	return func() {
		web.Close()
		<-done
	}, nil
}

func (r *Runtime) streamServer() (streaming.Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streaming == nil {
		return nil, status.Error(codes.Unimplemented, "crifake: ServeStreams was not called")
	}
	return r.streaming, nil
}

// Exec gives the address of a streaming exec.
func (r *Runtime) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return call(ctx, r, "Exec", req, func() (*runtimeapi.ExecResponse, error) {
		if len(req.Cmd) == 0 {
			return nil, errNoCommand
		}
		if _, err := r.running(req.ContainerId); err != nil {
			return nil, err
		}
		srv, err := r.streamServer()
		if err != nil {
			return nil, err
		}
		return srv.GetExec(req)
	})
}

// Attach gives the address of an attach.
func (r *Runtime) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return call(ctx, r, "Attach", req, func() (*runtimeapi.AttachResponse, error) {
		if _, err := r.running(req.ContainerId); err != nil {
			return nil, err
		}
		srv, err := r.streamServer()
		if err != nil {
			return nil, err
		}
		return srv.GetAttach(req)
	})
}

// PortForward gives the address of a port-forward.
func (r *Runtime) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return call(ctx, r, "PortForward", req, func() (*runtimeapi.PortForwardResponse, error) {
		srv, err := r.streamServer()
		if err != nil {
			return nil, err
		}
		return srv.GetPortForward(req)
	})
}

type streams struct {
	r       *Runtime
	forward func(context.Context, string, int32, io.ReadWriteCloser) error
}

// Exec runs the program's Stream, or its Exec with the output written at the end.
func (s *streams) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c, err := s.r.running(id)
	if err != nil {
		return err
	}
	var code int
	switch {
	case c.program.Stream != nil:
		code = c.program.Stream(ctx, cmd, in, out, errOut)
	case c.program.Exec != nil:
		res := c.program.Exec(ctx, cmd)
		if res.Err != nil {
			return res.Err
		}
		if out != nil {
			io.WriteString(out, res.Stdout)
		}
		if errOut != nil {
			io.WriteString(errOut, res.Stderr)
		}
		code = int(res.Code)
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// Attach runs the program's Stream without a command, else waits for the end.
func (s *streams) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c, err := s.r.running(id)
	if err != nil {
		return err
	}
	if c.program.Stream != nil {
		c.program.Stream(ctx, nil, in, out, errOut)
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PortForward hands the connection to the test.
func (s *streams) PortForward(ctx context.Context, sandboxID string, port int32, conn io.ReadWriteCloser) error {
	if s.forward == nil {
		return fmt.Errorf("dial port %d: connection refused", port)
	}
	return s.forward(ctx, sandboxID, port, conn)
}
