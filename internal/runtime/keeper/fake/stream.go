package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// logWriter writes lines in CRI log format. Unlike the real pump it expects
// whole lines in one write.
type logWriter struct {
	k      *Keeper
	c      *container
	stream string
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if w.c.log == nil {
		return len(b), nil
	}
	at := w.k.now().UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
	for line := range bytes.Lines(b) {
		if _, err := fmt.Fprintf(w.c.log, "%s %s F %s\n", at, w.stream, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (c *container) openLogLocked() error {
	if c.status.LogPath == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.status.LogPath), 0o755); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	f, err := os.OpenFile(c.status.LogPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if c.log != nil {
		c.log.Close()
	}
	c.log = f
	return nil
}

// ReopenLog opens the log file anew.
func (k *Keeper) ReopenLog(ctx context.Context, id string) error {
	if err := k.begin(ctx, "ReopenLog"); err != nil {
		return err
	}
	defer k.mu.Unlock()
	c := k.containers[id]
	switch {
	case c == nil:
		return fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	case c.proc == nil:
		return fmt.Errorf("container %s: %w", id, keeper.ErrNotRunning)
	}
	return c.openLogLocked()
}

// fanout copies what is written to every reader that joined, to the first one
// from the beginning. Readers have all the room they want.
type fanout struct {
	mu      sync.Mutex
	closed  bool
	joined  bool
	head    []byte // while nobody has joined
	readers map[*feed]struct{}
}

type feed struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    bytes.Buffer
	closed bool
}

func (f *fanout) join() *feed {
	r := &feed{}
	r.cond = sync.NewCond(&r.mu)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == nil {
		f.readers = map[*feed]struct{}{}
	}
	f.readers[r] = struct{}{}
	r.closed = f.closed
	r.buf.Write(f.head)
	f.joined, f.head = true, nil
	return r
}

func (f *fanout) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.joined {
		f.head = append(f.head, b...)
	}
	for r := range f.readers {
		r.mu.Lock()
		r.buf.Write(b)
		r.cond.Broadcast()
		r.mu.Unlock()
	}
	return len(b), nil
}

func (f *fanout) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for r := range f.readers {
		r.close()
	}
}

func (r *feed) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.cond.Broadcast()
}

func (r *feed) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.buf.Len() == 0 && !r.closed {
		r.cond.Wait()
	}
	if r.buf.Len() == 0 {
		return 0, io.EOF
	}
	return r.buf.Read(b)
}

type attachment struct {
	k           *Keeper
	c           *container
	stdin       io.WriteCloser
	stdout, err *feed
}

// Attach joins the streams of a container.
func (k *Keeper) Attach(ctx context.Context, id string) (keeper.AttachSession, error) {
	if err := k.begin(ctx, "Attach"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	c := k.containers[id]
	switch {
	case c == nil:
		return nil, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	case c.proc == nil:
		return nil, fmt.Errorf("container %s: %w", id, keeper.ErrNotRunning)
	}
	a := &attachment{k: k, c: c, stdout: c.out.join()}
	if !c.status.TTY {
		a.err = c.errs.join()
	}
	if c.stdin != nil {
		a.stdin = &stdin{c: c}
	}
	return a, nil
}

// stdin of an attach client: its end is the container's only with StdinOnce.
type stdin struct{ c *container }

func (s *stdin) Write(b []byte) (int, error) { return s.c.stdin.Write(b) }
func (s *stdin) Close() error {
	if s.c.status.StdinOnce {
		return s.c.stdin.Close()
	}
	return nil
}

func (a *attachment) Stdin() io.WriteCloser {
	if a.stdin == nil {
		return nil
	}
	return a.stdin
}
func (a *attachment) Stdout() io.Reader { return a.stdout }
func (a *attachment) Stderr() io.Reader {
	if a.err == nil {
		return nil
	}
	return a.err
}

func (a *attachment) Resize(size keeper.WindowSize) error {
	return a.k.Resize(context.Background(), a.c.status.ID, size)
}

func (a *attachment) Close() error {
	a.stdout.close()
	if a.err != nil {
		a.err.close()
	}
	if a.stdin != nil {
		return a.stdin.Close()
	}
	return nil
}

// Resize checks that there is a terminal.
func (k *Keeper) Resize(ctx context.Context, id string, _ keeper.WindowSize) error {
	if err := k.begin(ctx, "Resize"); err != nil {
		return err
	}
	defer k.mu.Unlock()
	c := k.containers[id]
	switch {
	case c == nil:
		return fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	case !c.status.TTY:
		return fmt.Errorf("container %s has no terminal: %w", id, keeper.ErrInvalid)
	case c.proc == nil:
		return fmt.Errorf("container %s: %w", id, keeper.ErrNotRunning)
	}
	c.proc.kill(syscall.SIGWINCH)
	return nil
}

type execSession struct {
	c        *container
	proc     *process
	terminal *os.File
}

// Exec runs a program beside the container's.
func (k *Keeper) Exec(ctx context.Context, e keeper.Exec) (keeper.ExecSession, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if err := k.begin(ctx, "Exec"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	c := k.containers[e.ContainerID]
	switch {
	case c == nil:
		return nil, fmt.Errorf("container %s: %w", e.ContainerID, keeper.ErrNotFound)
	case c.proc == nil:
		return nil, fmt.Errorf("container %s: %w", e.ContainerID, keeper.ErrNotRunning)
	}
	program, err := k.programLocked(e.ContainerID, e.Process.Args)
	if err != nil {
		return nil, err
	}
	files, terminal, err := execFiles(e)
	if err != nil {
		return nil, err
	}
	s := &execSession{c: c, terminal: terminal}
	s.proc = startProcess(k.pidLocked(), program, Process{
		Args: e.Process.Args, Env: e.Process.Env, Stdin: files[0], Stdout: files[1], Stderr: files[2],
	})
	c.execsMu.Lock()
	c.execSet[s.proc] = struct{}{}
	c.execsMu.Unlock()
	c.execs.Go(func() {
		<-s.proc.done
		for _, f := range files {
			f.Close()
		}
		c.execsMu.Lock()
		delete(c.execSet, s.proc)
		c.execsMu.Unlock()
	})
	return s, nil
}

// execFiles are copies of the caller's descriptors, as a process gets them; for
// a terminal, one end of a socket pair.
func execFiles(e keeper.Exec) (files [3]*os.File, terminal *os.File, err error) {
	src := [3]*os.File{e.Stdin, e.Stdout, e.Stderr}
	if e.TTY {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return files, nil, err
		}
		_ = syscall.SetNonblock(pair[0], true)
		terminal = os.NewFile(uintptr(pair[0]), "terminal")
		slave := os.NewFile(uintptr(pair[1]), "slave")
		defer slave.Close()
		src = [3]*os.File{slave, slave, slave}
	}
	for i, f := range src {
		if f == nil {
			f, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		} else {
			f, err = duplicate(f)
		}
		if err != nil {
			return files, nil, err
		}
		files[i] = f
	}
	return files, terminal, nil
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var derr error
	if err := raw.Control(func(p uintptr) {
		fd, derr = syscall.Dup(int(p))
	}); err != nil {
		return nil, err
	}
	if derr != nil {
		return nil, derr
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (c *container) signalExecs(sig syscall.Signal) {
	c.execsMu.Lock()
	defer c.execsMu.Unlock()
	for p := range c.execSet {
		p.kill(sig)
	}
}

func (c *container) killExecs() { c.signalExecs(syscall.SIGKILL) }

func (s *execSession) PID() int           { return s.proc.pid }
func (s *execSession) Terminal() *os.File { return s.terminal }

func (s *execSession) Resize(keeper.WindowSize) error {
	if s.terminal == nil {
		return errors.New("exec without a terminal")
	}
	return nil
}

func (s *execSession) Signal(sig syscall.Signal) error {
	s.proc.kill(sig)
	return nil
}

func (s *execSession) Wait(ctx context.Context) (keeper.ExitStatus, error) {
	select {
	case <-s.proc.done:
		return s.proc.exit, nil
	case <-ctx.Done():
		return keeper.ExitStatus{}, ctx.Err()
	}
}

func (s *execSession) Close() error {
	s.proc.kill(syscall.SIGKILL)
	return nil
}
