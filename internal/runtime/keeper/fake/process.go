package fake

import (
	"context"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// process is a Program that runs.
type process struct {
	pid     int
	cancel  context.CancelFunc
	signals chan syscall.Signal
	done    chan struct{}

	mu     sync.Mutex
	killer syscall.Signal // that ended it from outside, 0 = none
	caught bool           // the program reads its signals
	exit   keeper.ExitStatus
}

// catches marks a program that handles signals; see Trap.
type catches struct{ *process }

type catchKey struct{}

// Trap makes the signals of the calling program its own: from now on none but
// KILL ends it.
func Trap(ctx context.Context) {
	if c, ok := ctx.Value(catchKey{}).(catches); ok {
		c.mu.Lock()
		c.caught = true
		c.mu.Unlock()
	}
}

func startProcess(pid int, program Program, p Process) *process {
	ctx, cancel := context.WithCancel(context.Background())
	proc := &process{pid: pid, cancel: cancel, signals: make(chan syscall.Signal, 16), done: make(chan struct{})}
	p.Signals = proc.signals
	go func() {
		defer close(proc.done)
		defer cancel()
		code := program(context.WithValue(ctx, catchKey{}, catches{proc}), p)
		proc.mu.Lock()
		defer proc.mu.Unlock()
		proc.exit = keeper.ExitStatus{Code: code & 0xff}
		if proc.killer != 0 {
			proc.exit = keeper.ExitStatus{Code: 128 + int(proc.killer), Signal: int(proc.killer)}
		}
	}()
	return proc
}

func (p *process) kill(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.signals <- sig:
	default: // like a real one, a pending signal is not queued twice
	}
	deadly := sig == syscall.SIGKILL || !p.caught && sig != 0 &&
		sig != syscall.SIGWINCH && sig != syscall.SIGCHLD && sig != syscall.SIGCONT
	if deadly && p.killer == 0 {
		p.killer = sig
		p.cancel()
	}
}

func waitAll(ctx context.Context, procs []*process) error {
	for _, p := range procs {
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func stock() map[string]Program {
	return map[string]Program{
		"true":  func(context.Context, Process) int { return 0 },
		"false": func(context.Context, Process) int { return 1 },
		"sleep": func(ctx context.Context, _ Process) int { <-ctx.Done(); return 0 },
		"cat": func(ctx context.Context, p Process) int {
			// The copy may stay in a read for ever, as only the process ends.
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(p.Stdout, p.Stdin)
			}()
			select {
			case <-ended:
			case <-ctx.Done():
			}
			return 0
		},
		"echo": func(_ context.Context, p Process) int {
			_, _ = io.WriteString(p.Stdout, strings.Join(p.Args[1:], " ")+"\n")
			return 0
		},
	}
}

// Exit is a program that ends at once with a code.
func Exit(code int) Program { return func(context.Context, Process) int { return code } }

// ExitAfter is a program that ends by itself after a while.
func ExitAfter(d time.Duration, code int) Program {
	return func(ctx context.Context, _ Process) int {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return code
		case <-ctx.Done():
			return 0
		}
	}
}
