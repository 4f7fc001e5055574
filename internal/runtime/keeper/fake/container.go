package fake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

type container struct {
	status  keeper.ContainerStatus
	spec    *specs.Spec
	proc    *process // nil unless running
	stdin   *io.PipeWriter
	out     *fanout
	errs    *fanout
	ended   chan struct{}
	log     *os.File
	execs   sync.WaitGroup
	execsMu sync.Mutex
	execSet map[*process]struct{}
}

// Create records a container.
func (k *Keeper) Create(ctx context.Context, c keeper.Container) (keeper.ContainerStatus, error) {
	if err := c.Validate(); err != nil {
		return keeper.ContainerStatus{}, err
	}
	if err := k.begin(ctx, "Create"); err != nil {
		return keeper.ContainerStatus{}, err
	}
	defer k.mu.Unlock()
	if k.containers[c.ID] != nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", c.ID, keeper.ErrExists)
	}
	s := k.sandboxes[c.SandboxID]
	if s == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("sandbox %s: %w", c.SandboxID, keeper.ErrNotFound)
	}
	if !s.status.Running {
		return keeper.ContainerStatus{}, fmt.Errorf("sandbox %s: %w", c.SandboxID, keeper.ErrNotRunning)
	}
	fc := &container{
		spec: c.Spec, ended: make(chan struct{}), out: &fanout{}, errs: &fanout{},
		execSet: map[*process]struct{}{},
		status: keeper.ContainerStatus{
			ID: c.ID, SandboxID: c.SandboxID, State: keeper.Created, CreatedAt: k.now(), LogPath: c.LogPath,
			Cgroup: c.Spec.Linux.CgroupsPath, TTY: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce, Meta: c.Meta,
		},
	}
	k.containers[c.ID] = fc
	k.emitLocked(keeper.Event{ContainerID: c.ID, Type: keeper.EventCreated, At: k.now()})
	return fc.status, nil
}

// Start runs the container's program.
func (k *Keeper) Start(ctx context.Context, id string) (keeper.ContainerStatus, error) {
	if err := k.begin(ctx, "Start"); err != nil {
		return keeper.ContainerStatus{}, err
	}
	defer k.mu.Unlock()
	c := k.containers[id]
	if c == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	if c.status.State != keeper.Created {
		return c.status, fmt.Errorf("container %s is %s: %w", id, c.status.State, keeper.ErrInvalid)
	}
	program, err := k.programLocked(id, c.spec.Process.Args)
	if err != nil {
		return c.status, k.failStartLocked(c, err)
	}
	var stdin io.Reader = bytes.NewReader(nil)
	if c.status.Stdin {
		stdin, c.stdin = io.Pipe()
	}
	if err := c.openLogLocked(); err != nil {
		return c.status, k.failStartLocked(c, &keeper.StartError{ID: id, Message: err.Error()})
	}
	logged := func(stream string, f *fanout) io.Writer {
		return io.MultiWriter(&logWriter{k: k, c: c, stream: stream}, f)
	}
	stderr := logged("stderr", c.errs)
	if c.status.TTY {
		stderr = logged("stdout", c.out)
	}
	c.status.State, c.status.StartedAt, c.status.PID = keeper.Running, k.now(), k.pidLocked()
	k.emitLocked(keeper.Event{ContainerID: id, Type: keeper.EventStarted, At: k.now()})
	c.proc = startProcess(c.status.PID, program, Process{
		Args: c.spec.Process.Args, Env: c.spec.Process.Env,
		Stdin: stdin, Stdout: logged("stdout", c.out), Stderr: stderr,
	})
	k.running.Add(1)
	go k.reap(c, c.proc)
	return c.status, nil
}

func (k *Keeper) programLocked(id string, args []string) (Program, error) {
	if p := k.Programs[args[0]]; p != nil {
		return p, nil
	}
	if k.Default != nil {
		return k.Default, nil
	}
	return nil, &keeper.StartError{ID: id, Message: fmt.Sprintf("exec: %q: executable file not found in $PATH", args[0])}
}

func (k *Keeper) failStartLocked(c *container, err error) error {
	c.status.ExitCode, c.status.StartError = keeper.StartExitCode, err.Error()
	k.endUnstartedLocked(c)
	return err
}

// killUnstartedLocked ends a container that nobody asked to start.
func (k *Keeper) killUnstartedLocked(c *container) {
	c.status.ExitCode, c.status.Signal = 128+int(syscall.SIGKILL), int(syscall.SIGKILL)
	k.endUnstartedLocked(c)
}

func (k *Keeper) endUnstartedLocked(c *container) {
	c.status.State, c.status.FinishedAt, c.status.ExitKnown = keeper.Exited, k.now(), true
	close(c.ended)
	c.out.close()
	c.errs.close()
	k.emitLocked(keeper.Event{ContainerID: c.status.ID, Type: keeper.EventExited, At: k.now()})
}

// reap waits for the container's process and makes its end known, in the order
// of the real keeper: output complete, status, event.
func (k *Keeper) reap(c *container, p *process) {
	defer k.running.Done()
	<-p.done
	c.killExecs()
	c.execs.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	c.out.close()
	c.errs.close()
	if c.stdin != nil {
		c.stdin.CloseWithError(io.ErrClosedPipe)
	}
	if c.log != nil {
		c.log.Close()
		c.log = nil
	}
	c.proc = nil
	c.status.State, c.status.PID, c.status.FinishedAt = keeper.Exited, 0, k.now()
	c.status.ExitCode, c.status.Signal, c.status.ExitKnown = p.exit.Code, p.exit.Signal, true
	close(c.ended)
	k.emitLocked(keeper.Event{ContainerID: c.status.ID, Type: keeper.EventExited, At: k.now()})
}

// Run is Create and Start.
func (k *Keeper) Run(ctx context.Context, c keeper.Container) (keeper.ContainerStatus, error) {
	if _, err := k.Create(ctx, c); err != nil {
		return keeper.ContainerStatus{}, err
	}
	return k.Start(ctx, c.ID)
}

// Signal sends a signal to the program.
func (k *Keeper) Signal(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	if err := k.begin(ctx, "Signal"); err != nil {
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
	c.proc.kill(sig)
	if all {
		c.signalExecs(sig)
	}
	return nil
}

// Wait for the end of a container.
func (k *Keeper) Wait(ctx context.Context, id string) (keeper.ContainerStatus, error) {
	if err := k.begin(ctx, "Wait"); err != nil {
		return keeper.ContainerStatus{}, err
	}
	c := k.containers[id]
	k.mu.Unlock()
	if c == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		return keeper.ContainerStatus{}, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return c.status, nil
}

// Remove kills and forgets a container.
func (k *Keeper) Remove(ctx context.Context, id string) error {
	if err := k.begin(ctx, "Remove"); err != nil {
		return err
	}
	c := k.containers[id]
	var procs []*process
	if c != nil && c.proc != nil {
		c.proc.kill(syscall.SIGKILL)
		procs = append(procs, c.proc)
	}
	k.mu.Unlock()
	if c == nil {
		return nil
	}
	if err := waitAll(ctx, procs); err != nil {
		return err
	}
	if len(procs) > 0 {
		<-c.ended // reap has begun; it only needs the lock
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgetLocked(id)
	return nil
}

func (k *Keeper) forgetLocked(id string) {
	if k.containers[id] == nil {
		return
	}
	delete(k.containers, id)
	delete(k.resources, id)
	k.emitLocked(keeper.Event{ContainerID: id, Type: keeper.EventRemoved, At: k.now()})
}

// Container tells the status of one container.
func (k *Keeper) Container(ctx context.Context, id string) (keeper.ContainerStatus, error) {
	if err := k.begin(ctx, "Container"); err != nil {
		return keeper.ContainerStatus{}, err
	}
	defer k.mu.Unlock()
	c := k.containers[id]
	if c == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	return c.status, nil
}

// Containers tells the status of all, by ID.
func (k *Keeper) Containers(ctx context.Context) ([]keeper.ContainerStatus, error) {
	if err := k.begin(ctx, "Containers"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	all := make([]keeper.ContainerStatus, 0, len(k.containers))
	for _, c := range k.containers {
		all = append(all, c.status)
	}
	slices.SortFunc(all, func(a, b keeper.ContainerStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// UpdateResources is recorded; see Resources.
func (k *Keeper) UpdateResources(ctx context.Context, id string, r *specs.LinuxResources) error {
	if err := k.begin(ctx, "UpdateResources"); err != nil {
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
	k.resources[id] = r
	return nil
}

// Stats are what SetStats said, or zero for a container that runs.
func (k *Keeper) Stats(ctx context.Context, ids ...string) ([]keeper.Stats, error) {
	if err := k.begin(ctx, "Stats"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	if len(ids) == 0 {
		for id, c := range k.containers {
			if c.proc != nil {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
	}
	var all []keeper.Stats
	for _, id := range ids {
		s, ok := k.stats[id]
		c, sb := k.containers[id], k.sandboxes[id]
		if !ok && (c == nil || c.proc == nil) && (sb == nil || !sb.status.Running) {
			continue
		}
		s.ID, s.At = id, k.now()
		all = append(all, s)
	}
	return all, nil
}
