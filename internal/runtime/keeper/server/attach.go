package server

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/crilog"
	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

// attachment is a client at the streams of a container. Its descriptors are our
// ends of the pipes whose other ends the client has.
type attachment struct {
	c      *containerEntry
	stdin  *os.File // read end; nil without
	stdout *os.File // write ends
	stderr *os.File // nil with TTY

	detach []func()
	stdinW sync.WaitGroup
	// pending is input that was read when an upgrade interrupted its writing.
	pending []byte
}

// startAttach makes the pipes and joins them to the streams. The client's ends
// are returned in the order stdin, stdout, stderr.
func (s *Server) startAttach(id string) (a *attachment, started keeper.AttachStarted, theirs []*os.File, err error) {
	c, err := s.running(id)
	if err != nil {
		return nil, started, nil, err
	}
	a = &attachment{c: c}
	defer func() {
		if err != nil {
			wire.CloseAll(theirs)
			wire.CloseAll([]*os.File{a.stdin, a.stdout, a.stderr})
			a, theirs = nil, nil
		}
	}()
	st := s.recordOf(c).Status
	started = keeper.AttachStarted{Stdin: st.Stdin, Stderr: !st.TTY, TTY: st.TTY}
	if st.Stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return a, started, theirs, fmt.Errorf("attach: %w", err)
		}
		a.stdin, theirs = r, append(theirs, w)
	}
	for _, stream := range []struct {
		wanted bool
		ours   **os.File
	}{{true, &a.stdout}, {!st.TTY, &a.stderr}} {
		if !stream.wanted {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return a, started, theirs, fmt.Errorf("attach: %w", err)
		}
		*stream.ours, theirs = w, append(theirs, r)
	}
	return a, started, theirs, a.join(s)
}

// join connects the pipes to the container. From here on it closes them.
func (a *attachment) join(s *Server) error {
	c := a.c
	c.streamMu.Lock()
	defer c.streamMu.Unlock()
	if c.streams == nil {
		return fmt.Errorf("container %s: %w", c.id, keeper.ErrNotRunning)
	}
	tees := map[*os.File]*crilog.Tee{a.stdout: &c.streams.outTee}
	if a.stderr != nil {
		tees[a.stderr] = &c.streams.errTee
	}
	for pipe, tee := range tees {
		a.detach = append(a.detach, tee.Add(pipe))
	}
	into := c.streams.stdin
	if c.streams.terminal != nil {
		into = c.streams.terminal
	}
	if a.stdin != nil && into != nil {
		a.stdinW.Go(func() { a.copyStdin(s, into) })
	}
	return nil
}

// copyStdin feeds the container until the client's end closes.
func (a *attachment) copyStdin(s *Server, into *os.File) {
	defer a.stdin.Close()
	buf := make([]byte, 8<<10)
	for {
		n, err := into.Write(a.pending)
		a.pending = a.pending[n:]
		if os.IsTimeout(err) {
			return // interrupted for an upgrade
		}
		if err != nil {
			break // nobody reads it any more
		}
		n, err = a.stdin.Read(buf)
		if os.IsTimeout(err) {
			return
		}
		if err != nil {
			break
		}
		a.pending = buf[:n]
	}
	if st := s.recordOf(a.c).Status; st.StdinOnce && !st.TTY {
		s.shutStdin(a.c)
	}
}

// shutStdin ends the input of a container, here and in what pause holds.
func (s *Server) shutStdin(c *containerEntry) {
	c.streamMu.Lock()
	defer c.streamMu.Unlock()
	if c.streams == nil || c.streams.stdin == nil {
		return
	}
	if sb := s.findSandbox(s.recordOf(c).Status.SandboxID); sb != nil && sb.holder != nil {
		if err := sb.holder.Drop(parkedStdin(c.id)); err != nil {
			s.cfg.Log.Warn("release parked descriptors", "container", c.id, "err", err)
		}
	}
	_ = c.streams.stdin.Close()
	c.streams.stdin = nil
}

// serveAttach holds the attachment for as long as the connection and the
// container last. It returns false when it was interrupted for an upgrade.
func (s *Server) serveAttach(conn *wire.Conn, a *attachment) (finished bool) {
	gone := make(chan error, 1)
	go func() {
		_, _, files, err := conn.Receive() // a client has nothing to say
		wire.CloseAll(files)
		gone <- err
	}()
	select {
	case <-a.c.ended:
		// Not detach: the client reads to the end, then its pipes close.
		a.interruptStdin()
		_ = conn.Close()
		<-gone
		return true
	case err := <-gone:
		if errors.Is(err, wire.ErrIdle) {
			return false
		}
		for _, detach := range a.detach {
			detach()
		}
		_ = conn.Close()
		// The client is gone, and with it its end of stdin: the copy ends by
		// itself, unless the container does not read.
		return true
	}
}

// interruptStdin ends the copy without ending the container's input.
func (a *attachment) interruptStdin() {
	if a.stdin != nil {
		_ = a.stdin.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *Server) resize(r keeper.ResizeRequest) error {
	c, err := s.running(r.ID)
	if err != nil {
		return err
	}
	c.streamMu.Lock()
	defer c.streamMu.Unlock()
	if c.streams == nil || c.streams.terminal == nil {
		return fmt.Errorf("container %s has no terminal: %w", r.ID, keeper.ErrInvalid)
	}
	raw, err := c.streams.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: r.Size.Height, Col: r.Size.Width})
	})
	if err == nil {
		err = ierr
	}
	if err != nil {
		return fmt.Errorf("resize terminal of container %s: %w", r.ID, err)
	}
	return nil
}

func (s *Server) reopenLog(id string) error {
	c, err := s.running(id)
	if err != nil {
		return err
	}
	c.streamMu.Lock()
	defer c.streamMu.Unlock()
	if c.streams == nil {
		return fmt.Errorf("container %s: %w", id, keeper.ErrNotRunning)
	}
	return c.streams.file.Reopen()
}
