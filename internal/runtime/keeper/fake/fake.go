// Package fake is a keeper in memory: it behaves as the real one does, without
// processes. The conformance suite in package keepertest runs over both.
//
// A container "runs" the Program that Programs has for its first argument; it
// runs until its context is cancelled by a signal when there is none.
package fake

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

var _ keeper.Keeper = (*Keeper)(nil)

// Process is what a Program sees of its surroundings.
type Process struct {
	Args           []string
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals delivers every signal but KILL; a program that does not read it
	// is ended by TERM and the like, as a process without a handler is.
	Signals <-chan syscall.Signal
}

// Program is the body of a fake process; it returns the exit code. Its context
// ends when the process is killed.
type Program func(ctx context.Context, p Process) int

// Keeper is the fake. Make it with New.
type Keeper struct {
	// Programs by first argument. Missing ones end in a *keeper.StartError,
	// unless Default is set. Both may be changed only before use.
	Programs map[string]Program
	Default  Program

	mu         sync.Mutex
	now        func() time.Time
	started    time.Time
	nextPID    int
	closed     bool
	sandboxes  map[string]*sandbox
	containers map[string]*container
	subs       map[chan keeper.Event]struct{}
	faults     map[string]error
	stats      map[string]keeper.Stats
	resources  map[string]*specs.LinuxResources
	running    sync.WaitGroup
}

// New makes a fake keeper with the programs of a small shell: "sleep" (runs
// until it is signalled), "true", "false", "cat" and "echo".
func New() *Keeper {
	return &Keeper{
		Programs:   stock(),
		now:        time.Now,
		started:    time.Now(),
		nextPID:    1000,
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*container{},
		subs:       map[chan keeper.Event]struct{}{},
		faults:     map[string]error{},
		stats:      map[string]keeper.Stats{},
		resources:  map[string]*specs.LinuxResources{},
	}
}

// Fail makes every call of the named method ("StartSandbox", "Start" …) answer
// err, until it is nil again.
func (k *Keeper) Fail(method string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[method] = err
}

// SetStats is what Stats answers for s.ID from now on.
func (k *Keeper) SetStats(s keeper.Stats) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stats[s.ID] = s
}

// Resources tells the last UpdateResources of a container, nil = none.
func (k *Keeper) Resources(id string) *specs.LinuxResources {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.resources[id]
}

// KillSandbox ends the pause of a sandbox, as a crash of it would.
func (k *Keeper) KillSandbox(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sandboxes[id]; s != nil {
		k.endSandboxLocked(s)
	}
}

// OOM kills the container as the kernel's OOM killer does.
func (k *Keeper) OOM(id string) {
	k.mu.Lock()
	c := k.containers[id]
	if c != nil && c.proc != nil {
		c.status.OOMKilled = true
		k.emitLocked(keeper.Event{ContainerID: id, Type: keeper.EventOOM, At: k.now()})
		c.proc.kill(syscall.SIGKILL)
	}
	k.mu.Unlock()
}

// begin locks the keeper for one call, or says why it can't be made.
func (k *Keeper) begin(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	err := k.faults[method]
	if err == nil && k.closed {
		err = keeper.ErrUnavailable
	}
	if err != nil {
		k.mu.Unlock()
	}
	return err
}

func (k *Keeper) pidLocked() int {
	k.nextPID++
	return k.nextPID
}

// Version of the fake.
func (k *Keeper) Version(ctx context.Context) (keeper.Version, error) {
	if err := k.begin(ctx, "Version"); err != nil {
		return keeper.Version{}, err
	}
	defer k.mu.Unlock()
	return keeper.Version{Version: "fake", Protocol: keeper.Protocol, PID: os.Getpid(), Started: k.started}, nil
}

// Upgrade of a fake does nothing but look for the program.
func (k *Keeper) Upgrade(ctx context.Context, path string) error {
	if err := k.begin(ctx, "Upgrade"); err != nil {
		return err
	}
	defer k.mu.Unlock()
	if _, err := os.Stat(path); err != nil {
		return err
	}
	k.started = k.now()
	return nil
}

// Shutdown ends the fake; later calls answer ErrUnavailable.
func (k *Keeper) Shutdown(ctx context.Context, force bool) error {
	if err := k.begin(ctx, "Shutdown"); err != nil {
		return err
	}
	if !force && (len(k.sandboxes) > 0 || len(k.containers) > 0) {
		k.mu.Unlock()
		return keeper.ErrBusy
	}
	ids := make([]string, 0, len(k.sandboxes))
	for id := range k.sandboxes {
		ids = append(ids, id)
	}
	k.mu.Unlock()
	for _, id := range ids {
		if err := k.RemoveSandbox(ctx, id); err != nil {
			return err
		}
	}
	return k.Close()
}

// Close ends every subscription and every process, and waits for them.
func (k *Keeper) Close() error {
	k.mu.Lock()
	k.closed = true
	for ch := range k.subs {
		delete(k.subs, ch)
		close(ch)
	}
	for _, c := range k.containers {
		if c.proc != nil {
			c.proc.kill(syscall.SIGKILL)
		}
	}
	k.mu.Unlock()
	k.running.Wait()
	return nil
}
