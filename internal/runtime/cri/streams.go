package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// streamServer serves the URLs that Exec, Attach and PortForward hand out. They
// hold a random token that works once and for a minute.
type streamServer struct {
	streaming.Server
	web  *http.Server
	done chan struct{}
}

func newStreamServer(s *Service, addr string) (*streamServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	cfg := streaming.DefaultConfig
	cfg.Addr = ln.Addr().String()
	cfg.BaseURL = &url.URL{Scheme: "http", Host: cfg.Addr}
	srv, err := streaming.NewServer(cfg, s.Streams())
	if err != nil {
		ln.Close()
		return nil, err
	}
	out := &streamServer{Server: srv, web: &http.Server{Handler: srv}, done: make(chan struct{})}
	go func() {
		defer close(out.done)
		if err := out.web.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("streaming server", "err", err)
		}
	}()
	return out, nil
}

func (s *streamServer) close() error {
	err := s.web.Close()
	<-s.done
	return err
}

// Exec hands out the address of a streaming exec.
func (s *Service) Exec(_ context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if len(req.Cmd) == 0 {
		return nil, fail(codes.InvalidArgument, "exec: no command specified")
	}
	if _, err := s.running(req.ContainerId); err != nil {
		return nil, err
	}
	return s.streams.GetExec(req)
}

// Attach hands out the address of an attach.
func (s *Service) Attach(_ context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	if _, err := s.running(req.ContainerId); err != nil {
		return nil, err
	}
	return s.streams.GetAttach(req)
}

// PortForward hands out the address of a port-forward.
func (s *Service) PortForward(_ context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	if _, err := s.readySandbox(req.PodSandboxId); err != nil {
		return nil, err
	}
	return s.streams.GetPortForward(req)
}

// Streams are the streaming calls without a server in between, for callers in
// the process that bring their own streams.
func (s *Service) Streams() streaming.Runtime { return streams{s} }

type streams struct{ s *Service }

// Exec runs a command on the caller's streams; a non-zero exit code is a
// utilexec.CodeExitError, which the protocol turns into the client's own exit code.
func (st streams) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c, err := st.s.running(id)
	if err != nil {
		return err
	}
	var code int
	if tty {
		code, err = st.s.execTTY(ctx, c, cmd, in, out, resize)
	} else {
		code, err = st.s.exec(ctx, c, cmd, pipes{in: in, out: writer(out), err: writer(errOut)})
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// writer keeps a nil stream a nil interface.
func writer(w io.WriteCloser) io.Writer {
	if w == nil {
		return nil
	}
	return w
}

// execTTY runs a command on a terminal of its own.
func (s *Service) execTTY(ctx context.Context, c *container, cmd []string, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) (int, error) {
	session, err := s.cfg.Keeper.Exec(ctx, keeper.Exec{ContainerID: c.id, Process: execProcess(c, cmd, true), TTY: true})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	stop := resizeBy(resize, session.Resize)
	defer stop()
	terminal := session.Terminal()
	defer terminal.Close()
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	if out == nil {
		out = io.Discard
	}
	o, copied := &output{from: terminal, to: out}, make(chan struct{})
	go func() {
		defer close(copied)
		o.copy()
	}()
	exit, err := session.Wait(ctx)
	if err != nil {
		return 0, err
	}
	o.processEnded()
	<-copied
	return exit.Code, nil
}

// resizeBy follows a client's window until stop is called.
func resizeBy(sizes <-chan remotecommand.TerminalSize, set func(keeper.WindowSize) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			select {
			case size, ok := <-sizes:
				if !ok {
					return
				}
				_ = set(keeper.WindowSize{Width: size.Width, Height: size.Height}) // the process may have gone
			case <-ctx.Done():
				return
			}
		}
	}()
	return cancel
}

// Attach joins the streams of the container's own process until it ends or the
// client goes.
func (st streams) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c, err := st.s.running(id)
	if err != nil {
		return err
	}
	if tty != c.record.Config.Tty {
		return fail(codes.InvalidArgument, "attach: the container's tty is %t, the request's %t", c.record.Config.Tty, tty)
	}
	session, err := st.s.cfg.Keeper.Attach(ctx, id)
	if err != nil {
		return err
	}
	closed := sync.OnceFunc(func() { session.Close() })
	defer closed()
	defer context.AfterFunc(ctx, closed)()
	if tty {
		defer resizeBy(resize, session.Resize)()
	}
	if stdin := session.Stdin(); in != nil && stdin != nil {
		go func() {
			_, _ = io.Copy(stdin, in)
			stdin.Close()
		}()
	}
	var outputs sync.WaitGroup
	follow := func(from io.Reader, to io.Writer) {
		if from == nil {
			return
		}
		if to == nil {
			to = io.Discard
		}
		outputs.Go(func() {
			if _, err := io.Copy(to, from); err != nil {
				closed() // the client went
			}
		})
	}
	follow(session.Stdout(), writer(out))
	follow(session.Stderr(), writer(errOut))
	outputs.Wait()
	return nil
}
