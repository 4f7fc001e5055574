package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

// Events subscribes to changes; see the interface.
func (c *Client) Events(ctx context.Context) (<-chan Event, error) {
	conn, _, files, err := c.exchange(ctx, MethodEvents, nil)
	if err != nil {
		return nil, err
	}
	wire.CloseAll(files)
	events := make(chan Event, 64)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() {
		defer close(events)
		defer conn.Close()
		defer stop()
		for {
			_, body, _, err := conn.Receive()
			if err != nil {
				return
			}
			var e Event
			if json.Unmarshal(body, &e) != nil {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// Exec starts a process in a container; see the interface. The files are made
// blocking, as a process expects of its streams.
func (c *Client) Exec(ctx context.Context, e Exec) (ExecSession, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	request := ExecRequest{ContainerID: e.ContainerID, Process: e.Process, TTY: e.TTY}
	var send []*os.File
	if !e.TTY {
		for i, f := range []*os.File{e.Stdin, e.Stdout, e.Stderr} {
			if f != nil {
				request.Files[i] = true
				send = append(send, f)
			}
		}
	}
	conn, body, files, err := c.exchange(ctx, MethodExec, request, send...)
	if err != nil {
		return nil, err
	}
	s := &execSession{conn: conn, done: make(chan struct{})}
	var started ExecStarted
	err = decode(MethodExec, body, &started)
	if err == nil && e.TTY {
		if len(files) != 1 {
			err = fmt.Errorf("exec: %d descriptors instead of a terminal", len(files))
		} else {
			s.terminal, err = pollable(files[0], "terminal")
			files = nil
		}
	}
	wire.CloseAll(files)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.pid = started.PID
	go s.run()
	return s, nil
}

// pollable is f for Go's poller, so that a Close ends a Read.
func pollable(f *os.File, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

type execSession struct {
	conn     *wire.Conn
	pid      int
	terminal *os.File

	sendMu sync.Mutex
	done   chan struct{} // the process has ended, or the keeper is gone
	exit   ExitStatus    // valid after done
	err    error
}

func (s *execSession) run() {
	defer close(s.done)
	head, body, files, err := s.conn.Receive()
	wire.CloseAll(files)
	if err == nil {
		err = DecodeError(head)
	} else {
		err = fmt.Errorf("exec session: %w: %w", ErrUnavailable, err)
	}
	if err == nil {
		err = decode(MethodExec, body, &s.exit)
	}
	s.err = err
}

func (s *execSession) PID() int           { return s.pid }
func (s *execSession) Terminal() *os.File { return s.terminal }

func (s *execSession) Resize(size WindowSize) error {
	if s.terminal == nil {
		return fmt.Errorf("exec without a terminal: %w", ErrInvalid)
	}
	return setWindowSize(s.terminal, size)
}

func setWindowSize(terminal *os.File, size WindowSize) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	if err := raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
	}); err != nil {
		return err
	}
	return ierr
}

func (s *execSession) Signal(sig syscall.Signal) error {
	select {
	case <-s.done:
		return ErrNotRunning
	default:
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.conn.Send("", ExecSignal{sig})
}

func (s *execSession) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-s.done:
		return s.exit, s.err
	case <-ctx.Done():
		return ExitStatus{}, ctx.Err()
	}
}

// Close ends the connection, which makes the keeper kill what still runs.
func (s *execSession) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

// Attach joins a container's streams; see the interface.
func (c *Client) Attach(ctx context.Context, id string) (AttachSession, error) {
	conn, body, files, err := c.exchange(ctx, MethodAttach, IDRequest{id})
	if err != nil {
		return nil, err
	}
	var started AttachStarted
	if err := decode(MethodAttach, body, &started); err != nil {
		_ = conn.Close()
		wire.CloseAll(files)
		return nil, err
	}
	s := &attachSession{client: c, id: id, conn: conn}
	take := func(present bool, name string) *os.File {
		if !present || err != nil {
			return nil
		}
		if len(files) == 0 {
			err = errors.New("attach: a descriptor is missing")
			return nil
		}
		var f *os.File
		f, err = pollable(files[0], name)
		files = files[1:]
		return f
	}
	s.stdin = take(started.Stdin, "stdin")
	s.stdout = take(true, "stdout")
	s.stderr = take(started.Stderr, "stderr")
	wire.CloseAll(files)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

type attachSession struct {
	client                *Client
	id                    string
	conn                  *wire.Conn
	stdin, stdout, stderr *os.File
}

// The methods hide a nil file from the interface, which would not be nil.

func (s *attachSession) Stdin() io.WriteCloser {
	if s.stdin == nil {
		return nil
	}
	return s.stdin
}

func (s *attachSession) Stdout() io.Reader { return s.stdout }

func (s *attachSession) Stderr() io.Reader {
	if s.stderr == nil {
		return nil
	}
	return s.stderr
}

func (s *attachSession) Resize(size WindowSize) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.client.Resize(ctx, s.id, size)
}

func (s *attachSession) Close() error {
	wire.CloseAll([]*os.File{s.stdin, s.stdout, s.stderr})
	return s.conn.Close()
}
