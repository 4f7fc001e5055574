package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

func (s *Service) readySandbox(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := find(s.sandboxes, id)
	if sb == nil {
		return nil, noSandbox(id)
	}
	if !sb.ready() {
		return nil, fail(codes.FailedPrecondition, "pod sandbox %s is not ready", id)
	}
	return sb, nil
}

// PortForward carries one connection to a port on the pod's loopback.
func (st streams) PortForward(ctx context.Context, sandboxID string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	sb, err := st.s.readySandbox(sandboxID)
	if err != nil {
		return err
	}
	st.s.mu.Lock()
	netns := sb.status.NetNS
	st.s.mu.Unlock()
	conn, err := dialInside(ctx, netns, port)
	if err != nil {
		return fmt.Errorf("port forward to port %d of the pod: %w", port, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return relay(conn.(*net.TCPConn), stream)
}

// relay copies both ways. The client's end of input is passed on, since it may
// only have finished its request; the server's end finishes all.
func relay(conn *net.TCPConn, stream io.ReadWriteCloser) error {
	var once sync.Once
	go func() {
		_, _ = io.Copy(conn, stream)
		once.Do(func() { _ = conn.CloseWrite() })
	}()
	_, err := io.Copy(stream, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// dialInside connects to the loopback of a network namespace; "" is the host's.
func dialInside(ctx context.Context, netns string, port int32) (net.Conn, error) {
	if port <= 0 || port > 65535 {
		return nil, fmt.Errorf("port %d is out of range", port)
	}
	var conn net.Conn
	err := inNetNS(netns, func() error {
		var d net.Dialer
		var err4, err6 error
		// Literal addresses, one after the other: the dialer then makes the socket
		// on this very thread, which is the one inside the namespace.
		if conn, err4 = d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err4 == nil {
			return nil
		}
		if conn, err6 = d.DialContext(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(int(port)))); err6 == nil {
			return nil
		}
		return err4
	})
	return conn, err
}

// inNetNS runs fn on a thread inside the namespace. If the thread can't get back
// it is never used again: it ends with its goroutine.
func inNetNS(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	target, err := os.Open(path)
	if err != nil {
		return err
	}
	defer target.Close()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
