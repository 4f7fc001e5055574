package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// LaunchConfig says which keeper to start where.
type LaunchConfig struct {
	Program string // path of proa-keeper
	Pause   string // path of the pause program
	Run     string // the run folder, R
	Pool    int    // blank sandboxes in stock; negative = none
	// Cgroup of the keeper itself, below every controller's root; "" = where the
	// caller is. A service manager that ends the caller's cgroup must not end
	// the keeper's.
	Cgroup string
	// Log receives what the keeper says; nil = nothing.
	Log *os.File
}

// defaultPool is enough for pods that come one by one; a burst empties any pool.
const defaultPool = 2

// Socket is where the keeper of a run folder listens.
func Socket(run string) string { return filepath.Join(run, "keeper.sock") }

// Launch connects to the keeper of a run folder, and starts one if none runs.
// The keeper is a session of its own and outlives the caller.
func Launch(ctx context.Context, cfg LaunchConfig) (*Client, error) {
	c, err := Dial(Socket(cfg.Run))
	if err == nil || !errors.Is(err, ErrUnavailable) {
		return c, err
	}
	if err := spawn(ctx, cfg); err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	return Dial(Socket(cfg.Run))
}

// spawn starts the keeper and returns when its socket is served: it closes the
// pipe that it gets then, and the kernel does if it dies.
func spawn(ctx context.Context, cfg LaunchConfig) error {
	if err := os.MkdirAll(cfg.Run, 0o755); err != nil {
		return err
	}
	ready, report, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	pool := cfg.Pool
	if pool == 0 {
		pool = defaultPool
	}
	cmd := exec.Command(cfg.Program, "-run", cfg.Run, "-pause", cfg.Pause, "-pool", strconv.Itoa(max(pool, 0)), "-ready-fd", "3")
	if cfg.Cgroup != "" {
		cmd.Args = append(cmd.Args, "-cgroup", cfg.Cgroup)
	}
	cmd.Dir, cmd.Stderr, cmd.Stdout = "/", cfg.Log, cfg.Log
	if cfg.Log == nil { // a nil *os.File in an interface is not nil
		cmd.Stderr, cmd.Stdout = nil, nil
	}
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = report.Close()
	if err != nil {
		return err
	}
	// Whoever outlives the other: a keeper that ends under us is reaped.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	served := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, ready)
		served <- err
	}()
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	<-served
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("it ended at once")
		}
		return err
	default:
		return nil
	}
}
