package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/process"
)

// containerEntry is one container. Its record is replaced under the server's
// mutex; op is held by whoever changes it.
type containerEntry struct {
	id string

	op      sync.Mutex
	record  containerRecord
	proc    *process.Process
	streams *streams
	// prepared is closed when the process waits for its start, or when
	// prepareErr says why it does not.
	prepared   chan struct{}
	prepareErr error
	// unseen: an earlier keeper ended while it started this one, which has ended
	// too: its exit code tells whether the command ran.
	unseen bool
	ended  chan struct{} // closed when it has exited
	// execs is held for reading while a process is being put into the
	// container, so that its end can kill all that is in it.
	execs sync.RWMutex
	// streamMu is held by whoever uses the streams, and by their end.
	streamMu sync.Mutex
}

// killPatience is how long processes that were sent KILL may take to die. Only
// one in an uninterruptible sleep takes long.
const killPatience = 30 * time.Second

func (s *Server) createContainer(r keeper.Container) (*containerEntry, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	sb := s.findSandbox(r.SandboxID)
	if sb == nil {
		return nil, fmt.Errorf("sandbox %s: %w", r.SandboxID, keeper.ErrNotFound)
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	st, err := s.sandboxStatus(r.SandboxID)
	if err != nil {
		return nil, err
	}
	if !st.Running {
		return nil, fmt.Errorf("sandbox %s: %w", r.SandboxID, keeper.ErrNotRunning)
	}
	c := &containerEntry{id: r.ID, record: newRecord(r), prepared: make(chan struct{}), ended: make(chan struct{})}
	s.mu.Lock()
	_, taken := s.containers[r.ID]
	if !taken {
		s.containers[r.ID] = c
	}
	s.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("container %s: %w", r.ID, keeper.ErrExists)
	}
	dir := s.store.containerDir(r.ID)
	if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		err = nil // half of one that was lost in a crash
	}
	if err == nil {
		err = save(s.store.containerFile(r.ID), c.record)
	}
	if err != nil {
		s.mu.Lock()
		delete(s.containers, r.ID)
		s.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("container %s: %w", r.ID, err), os.RemoveAll(dir))
	}
	s.containerEvent(r.ID, keeper.EventCreated)
	s.preparing.Go(func() { s.prepare(c, r.Spec, sb) })
	return c, nil
}

func newRecord(r keeper.Container) containerRecord {
	record := containerRecord{Status: keeper.ContainerStatus{
		ID: r.ID, SandboxID: r.SandboxID, State: keeper.Created, CreatedAt: time.Now(), LogPath: r.LogPath,
		Cgroup: r.Spec.Linux.CgroupsPath, TTY: r.TTY, Stdin: r.Stdin, StdinOnce: r.StdinOnce, Meta: r.Meta,
	}}
	if res := r.Spec.Linux.Resources; res != nil && res.CPU != nil && res.CPU.Quota != nil {
		record.Quota = *res.CPU.Quota
		if res.CPU.Period != nil {
			record.Period = *res.CPU.Period
		}
		if res.CPU.Burst != nil {
			record.Burst = *res.CPU.Burst
		}
	}
	return record
}

// prepare brings the container's process to where it waits for its start, while
// the client does what it does between Create and Start.
func (s *Server) prepare(c *containerEntry, spec *specs.Spec, sb *sandboxEntry) {
	c.op.Lock()
	defer c.op.Unlock()
	defer close(c.prepared)
	defer s.starts.enter()()
	defer func() {
		if r := recover(); r != nil { // a spec that libcontainer chokes on
			c.prepareErr = fmt.Errorf("prepare container: %v", r)
		}
		if c.prepareErr != nil && c.streams != nil {
			c.streams.finish()
			c.streams = nil
		}
	}()
	if s.cgroups.Unified == "" && c.record.Status.Cgroup != "" {
		// Counters of v1 go on when a cgroup is used again.
		if pids, err := s.cgroups.PIDs(c.record.Status.Cgroup); err == nil && len(pids) == 0 {
			_ = s.cgroups.Remove(c.record.Status.Cgroup)
		}
	}
	streams, child, err := newStreams(s.store.containerDir(c.id), c.record.Status)
	if err != nil {
		c.prepareErr = err
		return
	}
	c.streams = streams
	pid, terminal, err := s.cfg.Runtime.Prepare(c.id, spec, child)
	child.close()
	if err != nil {
		c.prepareErr = err
		return
	}
	streams.terminal = terminal
	if c.prepareErr = s.adoptChild(c, sb, pid); c.prepareErr != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(pid, &status, 0, nil)
		c.prepareErr = errors.Join(c.prepareErr, s.cfg.Runtime.Delete(c.id))
		c.proc = nil
	}
}

// adoptChild makes a process that waits for its start the container's.
func (s *Server) adoptChild(c *containerEntry, sb *sandboxEntry, pid int) error {
	proc, err := process.Watch(pid, 0)
	if err != nil {
		return fmt.Errorf("watch container process: %w", err)
	}
	record := c.record
	record.PID, record.StartTime = pid, proc.StartTime
	if err := save(s.store.containerFile(c.id), record); err != nil {
		return err
	}
	s.setContainer(c, record)
	c.proc = proc
	s.park(c, sb)
	if err := c.streams.pump(s.cfg.Log); err != nil {
		return err
	}
	s.watch(proc, func(exit process.Exit) { s.containerEnded(c, exit) })
	return nil
}

// park leaves with pause what must outlive the keeper. That it can't is no
// reason not to run the container.
func (s *Server) park(c *containerEntry, sb *sandboxEntry) {
	put := func(name string, f *os.File) {
		if f == nil {
			return
		}
		raw, err := f.SyscallConn()
		if err == nil {
			cerr := raw.Control(func(fd uintptr) { err = sb.holder.Put(name, int(fd)) })
			err = errors.Join(err, cerr)
		}
		if err != nil {
			s.cfg.Log.Warn("park descriptor", "container", c.id, "name", name, "err", err)
		}
	}
	put(parkedStdin(c.id), c.streams.stdin)
	put(parkedTerminal(c.id), c.streams.terminal)
	// Opened by path again; parked, they keep what is printed from vanishing with
	// the container's process while no keeper reads.
	put(parkedStdout(c.id), c.streams.stdout)
	put(parkedStderr(c.id), c.streams.stderr)
	err := c.proc.Descriptor(func(fd int) {
		if err := sb.holder.Put(parkedPidfd(c.id), fd); err != nil {
			s.cfg.Log.Warn("park descriptor", "container", c.id, "name", "pidfd", "err", err)
		}
	})
	if err != nil {
		s.cfg.Log.Warn("park descriptor", "container", c.id, "name", "pidfd", "err", err)
	}
}

func (s *Server) startContainer(ctx context.Context, id string) (keeper.ContainerStatus, error) {
	c := s.findContainer(id)
	if c == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	select {
	case <-c.prepared:
	case <-ctx.Done():
		return keeper.ContainerStatus{}, ctx.Err()
	}
	st, err := s.startPrepared(c)
	s.pool.refillLater()
	s.memory.touch()
	var start *keeper.StartError
	if errors.As(err, &start) {
		// Its process may be dying yet; the caller shall find it Exited.
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
	}
	return st, err
}

func (s *Server) startPrepared(c *containerEntry) (keeper.ContainerStatus, error) {
	c.op.Lock()
	defer c.op.Unlock()
	switch st := c.record.Status; {
	case st.State == keeper.Exited && st.StartedAt.IsZero():
		cause := st.StartError
		if cause == "" {
			cause = fmt.Sprintf("container process ended before it was started (exit code %d)", st.ExitCode)
		}
		return st, &keeper.StartError{ID: c.id, Message: cause}
	case st.State != keeper.Created:
		return st, fmt.Errorf("container %s is %s: %w", c.id, st.State, keeper.ErrInvalid)
	case c.proc == nil:
		return s.failStart(c, c.prepareErr)
	case c.prepareErr != nil: // an earlier start failed, its process is dying
		return st, &keeper.StartError{ID: c.id, Message: c.prepareErr.Error()}
	}
	if err := s.letRun(c, func() error { return s.cfg.Runtime.Start(c.id) }); err != nil {
		return c.record.Status, &keeper.StartError{ID: c.id, Message: err.Error()}
	}
	return c.record.Status, nil
}

// letRun has the process run the container's command. What start is about to do is on
// disk before it is done, so that a next keeper knows of it.
func (s *Server) letRun(c *containerEntry, start func() error) error {
	record := c.record
	st := &record.Status
	st.State, st.PID, st.StartedAt, record.Starting = keeper.Running, record.PID, time.Now(), true
	err := save(s.store.containerFile(c.id), record)
	if err == nil {
		err = start()
	}
	st.StartedAt, record.Starting = time.Now(), false
	if err == nil {
		err = s.setQuota(record)
	}
	if err == nil {
		err = save(s.store.containerFile(c.id), record)
	}
	if err != nil {
		c.prepareErr = err
		_ = c.proc.Signal(syscall.SIGKILL) // and its end is recorded as that of others
		return err
	}
	s.setContainer(c, record)
	s.containerEvent(c.id, keeper.EventStarted)
	return nil
}

// setQuota limits the CPU once the command runs; libcontainer was told nothing
// of it.
func (s *Server) setQuota(record containerRecord) error {
	if record.Quota <= 0 || record.Status.Cgroup == "" {
		return nil
	}
	err := s.cgroups.SetQuota(record.Status.Cgroup, record.Quota, record.Period, record.Burst)
	if errors.Is(err, os.ErrNotExist) {
		return nil // ended, and gone, already
	}
	if err != nil {
		return fmt.Errorf("set CPU limit: %w", err)
	}
	return nil
}

// failStart records a container whose process never came to be.
func (s *Server) failStart(c *containerEntry, cause error) (keeper.ContainerStatus, error) {
	record := failed(c.record, cause)
	if err := save(s.store.containerFile(c.id), record); err != nil {
		s.cfg.Log.Error("save container", "container", c.id, "err", err)
	}
	s.setContainer(c, record)
	close(c.ended)
	s.containerEvent(c.id, keeper.EventExited)
	return record.Status, &keeper.StartError{ID: c.id, Message: cause.Error()}
}

// dropUnstarted ends a container that has no process and that nobody asked to start:
// what would have kept it from starting is no matter any more.
func (s *Server) dropUnstarted(c *containerEntry) {
	record := c.record
	st := &record.Status
	st.State, st.FinishedAt = keeper.Exited, time.Now()
	st.ExitCode, st.ExitKnown, st.Signal = 128+int(syscall.SIGKILL), true, int(syscall.SIGKILL)
	if err := save(s.store.containerFile(c.id), record); err != nil {
		s.cfg.Log.Error("save container", "container", c.id, "err", err)
	}
	s.setContainer(c, record)
	close(c.ended)
	s.containerEvent(c.id, keeper.EventExited)
}

// errCutOff is why a command never ran whose keeper ended too early.
var errCutOff = errors.New("the keeper ended while the container was being started")

func failed(record containerRecord, cause error) containerRecord {
	st := &record.Status
	st.State, st.PID, st.StartedAt, st.FinishedAt = keeper.Exited, 0, time.Time{}, time.Now()
	st.ExitCode, st.ExitKnown, st.StartError = keeper.StartExitCode, true, cause.Error()
	return record
}

// containerEnded records the end of the container's init process: first the
// rest of it dies and its output is written, then its status, then the event.
func (s *Server) containerEnded(c *containerEntry, exit process.Exit) {
	c.op.Lock()
	defer c.op.Unlock()
	record := c.record
	finished := time.Now()
	c.execs.Lock() // whoever is being put into it now is in it, or has failed
	kills := uint64(0)
	if cg := record.Status.Cgroup; cg != "" {
		kills = s.cgroups.OOMKills(cg)
		// A private PID namespace is empty by now, a shared one is not.
		if err := s.cgroups.KillAll(cg, killPatience); err != nil {
			s.cfg.Log.Error("kill processes of an ended container", "container", c.id, "err", err)
		}
	}
	c.execs.Unlock()
	c.streamMu.Lock()
	c.streams.finish()
	c.streams = nil
	c.streamMu.Unlock()

	switch {
	case c.unseen && exit.Code == InitFailed:
		record = failed(record, errCutOff)
	case record.Status.State == keeper.Created && c.prepareErr != nil:
		record = failed(record, c.prepareErr)
	default:
		st := &record.Status
		st.State, st.PID, st.FinishedAt = keeper.Exited, 0, finished
		st.ExitCode, st.ExitKnown, st.Signal = exit.Code, exit.Known, exit.Signal
	}
	record.Status.OOMKilled = kills > 0
	if err := save(s.store.containerFile(c.id), record); err != nil {
		s.cfg.Log.Error("save container", "container", c.id, "err", err)
	}
	s.setContainer(c, record)
	close(c.ended)
	if kills > 0 {
		s.containerEvent(c.id, keeper.EventOOM)
	}
	s.containerEvent(c.id, keeper.EventExited)
	s.unpark(c)
	// Not kept until the container is removed: cgroup v1 gives a pod no quota below
	// that of a child, be it empty.
	if cg := record.Status.Cgroup; cg != "" {
		if err := s.cgroups.Remove(cg); err != nil {
			s.cfg.Log.Warn("remove the cgroup of an ended container", "container", c.id, "err", err)
		}
	}
}

// unpark lets go of what pause holds for the container.
func (s *Server) unpark(c *containerEntry) {
	sb := s.findSandbox(c.record.Status.SandboxID)
	if sb == nil || sb.holder == nil {
		return
	}
	select {
	case <-sb.ended:
		return // with it, all is gone
	default:
	}
	if err := sb.holder.Drop(parkedPrefix(c.id)); err != nil && !errors.Is(err, os.ErrClosed) {
		s.cfg.Log.Warn("release parked descriptors", "container", c.id, "err", err)
	}
}

// recordOf is for those who do not hold op.
func (s *Server) recordOf(c *containerEntry) containerRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.record
}

func (s *Server) setContainer(c *containerEntry, record containerRecord) {
	s.mu.Lock()
	c.record = record
	s.mu.Unlock()
}

func (s *Server) findContainer(id string) *containerEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.containers[id]
}

func (s *Server) containerStatus(id string) (keeper.ContainerStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[id]
	if c == nil {
		return keeper.ContainerStatus{}, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	return c.record.Status, nil
}

func (s *Server) listContainers() []keeper.ContainerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]keeper.ContainerStatus, 0, len(s.containers))
	for _, c := range s.containers {
		all = append(all, c.record.Status)
	}
	slices.SortFunc(all, func(a, b keeper.ContainerStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (s *Server) containersOf(sandboxID string) []*containerEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*containerEntry
	for _, c := range s.containers {
		if c.record.Status.SandboxID == sandboxID {
			all = append(all, c)
		}
	}
	return all
}

// running finds a container that runs, or says what it is instead.
func (s *Server) running(id string) (*containerEntry, error) {
	c := s.findContainer(id)
	if c == nil {
		return nil, fmt.Errorf("container %s: %w", id, keeper.ErrNotFound)
	}
	st, err := s.containerStatus(id)
	if err != nil {
		return nil, err
	}
	if st.State != keeper.Running {
		return nil, fmt.Errorf("container %s is %s: %w", id, st.State, keeper.ErrNotRunning)
	}
	return c, nil
}

func (s *Server) signal(r keeper.SignalRequest) error {
	c, err := s.running(r.ID)
	if err != nil {
		return err
	}
	if r.Signal < 0 || r.Signal > 64 {
		return fmt.Errorf("signal %d: %w", r.Signal, keeper.ErrInvalid)
	}
	if cg := s.recordOf(c).Status.Cgroup; r.All && cg != "" {
		if err := s.cgroups.Signal(cg, r.Signal); err != nil {
			return fmt.Errorf("container %s: %w", r.ID, err)
		}
		return nil
	}
	if err := c.proc.Signal(r.Signal); errors.Is(err, process.ErrGone) {
		return fmt.Errorf("container %s: %w", r.ID, keeper.ErrNotRunning)
	} else if err != nil {
		return fmt.Errorf("signal container %s: %w", r.ID, err)
	}
	return nil
}

// kill ends the container, whatever its state, and returns when it has ended.
func (s *Server) kill(ctx context.Context, c *containerEntry) error {
	select {
	case <-c.prepared:
	case <-ctx.Done():
		return fmt.Errorf("kill container %s: %w", c.id, ctx.Err())
	}
	c.op.Lock()
	if c.record.Status.State == keeper.Created && c.proc == nil {
		s.dropUnstarted(c)
	}
	proc := c.proc
	c.op.Unlock()
	if proc != nil {
		if err := proc.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
			return fmt.Errorf("kill container %s: %w", c.id, err)
		}
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kill container %s: %w", c.id, ctx.Err())
	}
}

func (s *Server) removeContainer(ctx context.Context, id string) error {
	c := s.findContainer(id)
	if c == nil {
		return nil
	}
	if err := s.kill(ctx, c); err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	if s.findContainer(id) != c {
		return nil // removed while we waited
	}
	if err := s.clearContainer(c); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.containers, id)
	s.mu.Unlock()
	s.containerEvent(id, keeper.EventRemoved)
	s.memory.touch()
	return nil
}

func (s *Server) clearContainer(c *containerEntry) error {
	err := s.cfg.Runtime.Delete(c.id)
	if cg := c.record.Status.Cgroup; cg != "" {
		// libcontainer removes it too, unless its state was lost.
		if rerr := s.cgroups.Remove(cg); rerr != nil {
			return errors.Join(err, rerr)
		}
	}
	if err != nil {
		s.cfg.Log.Warn("delete container", "container", c.id, "err", err)
	}
	return os.RemoveAll(s.store.containerDir(c.id)) // plain files and FIFOs only
}

func (s *Server) updateResources(r keeper.UpdateRequest) error {
	if r.Resources == nil {
		return fmt.Errorf("container %s: no resources: %w", r.ID, keeper.ErrInvalid)
	}
	c, err := s.running(r.ID)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	if err := s.cfg.Runtime.Update(r.ID, r.Resources); err != nil {
		return fmt.Errorf("update container %s: %w", r.ID, err)
	}
	return nil
}
