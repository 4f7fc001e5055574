package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/console"
)

// terminal is kubectl at a terminal, as a user sits before one.
type terminal struct {
	*session
	cmd  *exec.Cmd
	pty  console.Console
	done chan error

	mu   sync.Mutex
	seen bytes.Buffer
	read int // how much of it was waited for
}

// terminal runs kubectl with a terminal of so many rows and columns.
func (s *session) terminal(rows, columns uint16, args ...string) *terminal {
	s.Helper()
	pty, path, err := console.NewPty()
	if err != nil {
		s.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer slave.Close()
	t := &terminal{session: s, pty: pty, done: make(chan error, 1)}
	t.resize(rows, columns)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.Cleanup(cancel)
	t.cmd = exec.CommandContext(ctx, s.cluster.Binary, append([]string{"kubectl", "--data-dir=" + s.cluster.Data, "-n", s.namespace}, args...)...)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go t.watch()
	go func() { t.done <- t.cmd.Wait() }()
	return t
}

func (t *terminal) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := t.pty.Read(buf)
		t.mu.Lock()
		t.seen.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return // nobody has the terminal open any more
		}
	}
}

func (t *terminal) resize(rows, columns uint16) {
	t.Helper()
	if err := t.pty.Resize(console.WinSize{Height: rows, Width: columns}); err != nil {
		t.Fatal(err)
	}
}

func (t *terminal) types(text string) {
	t.Helper()
	if _, err := t.pty.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// shows waits for text after all that was waited for before.
func (t *terminal) shows(text string) {
	t.Helper()
	t.until("the terminal shows "+text+":\n"+t.screen(), func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		at := strings.Index(t.seen.String()[t.read:], text)
		if at >= 0 {
			t.read += at + len(text)
		}
		return at >= 0
	})
}

func (t *terminal) screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.String()
}

// ends waits for kubectl to end, and returns its exit code.
func (t *terminal) ends() int {
	t.Helper()
	select {
	case <-t.done:
	case <-time.After(patience):
		t.Fatalf("kubectl does not end:\n%s", t.screen())
	}
	return t.cmd.ProcessState.ExitCode()
}
