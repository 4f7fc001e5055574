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

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/process"
	"github.com/proa-project/proa/internal/runtime/keeper/sandbox"
)

// sandboxEntry is one sandbox. Its record is replaced under the server's mutex;
// op is held by whoever changes it.
type sandboxEntry struct {
	op     sync.Mutex
	record sandboxRecord
	proc   *process.Process
	holder *sandbox.Holder
	ended  chan struct{} // closed when pause has ended
}

func kindOf(r *keeper.Sandbox) sandbox.Kind {
	return sandbox.Kind{
		Net: !r.HostNetwork, IPC: !r.HostIPC, PID: r.SharePID,
		// A pod on the host's network goes by the host's name.
		UTS:         !r.HostNetwork,
		UIDMappings: r.UIDMappings, GIDMappings: r.GIDMappings,
	}
}

func (s *Server) startSandbox(r keeper.Sandbox) (keeper.SandboxStatus, error) {
	if err := r.Validate(); err != nil {
		return keeper.SandboxStatus{}, err
	}
	e := &sandboxEntry{ended: make(chan struct{})}
	e.op.Lock()
	defer e.op.Unlock()
	s.mu.Lock()
	_, taken := s.sandboxes[r.ID]
	if !taken {
		s.sandboxes[r.ID] = e
	}
	s.mu.Unlock()
	if taken {
		return keeper.SandboxStatus{}, fmt.Errorf("sandbox %s: %w", r.ID, keeper.ErrExists)
	}
	err := s.makeSandbox(e, r)
	s.pool.refillLater()
	s.memory.touch()
	if err != nil {
		s.mu.Lock()
		delete(s.sandboxes, r.ID)
		s.mu.Unlock()
		return keeper.SandboxStatus{}, fmt.Errorf("sandbox %s: %w", r.ID, err)
	}
	return s.sandboxRecordOf(e).Status, nil
}

func (s *Server) makeSandbox(e *sandboxEntry, r keeper.Sandbox) (err error) {
	kind := kindOf(&r)
	paths := sandbox.PathsOf(s.cfg.Run, r.ID, kind)
	b, err := s.pool.get(kind)
	if err != nil {
		return err
	}
	e.proc, e.holder = b.proc, b.holder
	record := sandboxRecord{Kind: kind, StartTime: b.start, Status: keeper.SandboxStatus{
		ID: r.ID, PID: b.pid, NetNS: paths.Net, IPCNS: paths.IPC, UTSNS: paths.UTS, PIDNS: paths.PID, UserNS: paths.User,
		Shm: paths.Shm, Running: true, CreatedAt: time.Now(), Cgroup: r.Cgroup, Meta: r.Meta,
	}}
	// On disk first: whatever is made from here on can be found and removed.
	if err = save(s.store.sandboxFile(r.ID), record); err == nil {
		s.pool.forget(b)
		err = s.furnish(record, r)
	}
	if err != nil {
		b.kill()
		s.pool.forget(b)
		return errors.Join(err, s.clearSandbox(record))
	}
	s.setSandbox(e, record)
	s.sandboxEvent(r.ID, keeper.EventStarted) // before its end can be seen
	s.watch(b.proc, func(process.Exit) { s.pauseEnded(e) })
	return nil
}

// furnish turns a blank into the sandbox that was asked for.
func (s *Server) furnish(record sandboxRecord, r keeper.Sandbox) error {
	pid := record.Status.PID
	if r.Cgroup != "" {
		if err := s.cgroups.Join(r.Cgroup, pid); err != nil {
			return err
		}
	}
	if err := sandbox.PathsOf(s.cfg.Run, r.ID, record.Kind).Mount(pid, record.Kind, r.ShmSize); err != nil {
		return err
	}
	return sandbox.Configure(pid, record.Kind, r.Hostname, r.Sysctls)
}

// clearSandbox removes what furnish made, and the record.
func (s *Server) clearSandbox(record sandboxRecord) error {
	id := record.Status.ID
	err := sandbox.PathsOf(s.cfg.Run, id, record.Kind).Unmount()
	if record.Status.Cgroup != "" {
		err = errors.Join(err, s.cgroups.Remove(record.Status.Cgroup))
	}
	if err == nil {
		// Last: what could not be removed stays known, to be tried again.
		err = os.Remove(s.store.sandboxFile(id))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// sandboxRecordOf reads a record that the end of pause may replace at any time.
func (s *Server) sandboxRecordOf(e *sandboxEntry) sandboxRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.record
}

func (s *Server) setSandbox(e *sandboxEntry, record sandboxRecord) {
	s.mu.Lock()
	e.record = record
	s.mu.Unlock()
}

// pauseEnded records the end of a pause process.
func (s *Server) pauseEnded(e *sandboxEntry) {
	record := s.sandboxRecordOf(e)
	record.Status.Running, record.Status.PID, record.Status.FinishedAt = false, 0, time.Now()
	if err := save(s.store.sandboxFile(record.Status.ID), record); err != nil {
		s.cfg.Log.Error("save sandbox", "sandbox", record.Status.ID, "err", err)
	}
	s.setSandbox(e, record)
	if e.holder != nil {
		_ = e.holder.Close()
	}
	close(e.ended)
	s.sandboxEvent(record.Status.ID, keeper.EventExited)
}

func (s *Server) findSandbox(id string) *sandboxEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sandboxes[id]
}

func (s *Server) sandboxStatus(id string) (keeper.SandboxStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sandboxes[id]
	if e == nil || e.record.Status.ID == "" {
		return keeper.SandboxStatus{}, fmt.Errorf("sandbox %s: %w", id, keeper.ErrNotFound)
	}
	return e.record.Status, nil
}

func (s *Server) listSandboxes() []keeper.SandboxStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]keeper.SandboxStatus, 0, len(s.sandboxes))
	for _, e := range s.sandboxes {
		if e.record.Status.ID != "" { // else it is being made
			all = append(all, e.record.Status)
		}
	}
	slices.SortFunc(all, func(a, b keeper.SandboxStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (s *Server) stopSandbox(ctx context.Context, id string) error {
	e := s.findSandbox(id)
	if e == nil {
		return nil
	}
	e.op.Lock()
	defer e.op.Unlock()
	return s.endSandbox(ctx, e)
}

// endSandbox kills what runs in the sandbox, pause last: it is PID 1 of a
// shared PID namespace, and the containers' own ends should be seen first.
func (s *Server) endSandbox(ctx context.Context, e *sandboxEntry) error {
	id := s.sandboxRecordOf(e).Status.ID
	if id == "" {
		return nil // its start failed
	}
	errs := make(chan error)
	members := s.containersOf(id)
	for _, c := range members {
		go func() { errs <- s.kill(ctx, c) }()
	}
	var all []error
	for range members {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	if err := e.proc.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		return fmt.Errorf("kill pause of sandbox %s: %w", id, err)
	}
	select {
	case <-e.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop sandbox %s: %w", id, ctx.Err())
	}
}

func (s *Server) removeSandbox(ctx context.Context, id string) error {
	e := s.findSandbox(id)
	if e == nil {
		return nil
	}
	e.op.Lock()
	defer e.op.Unlock()
	if s.findSandbox(id) != e {
		return nil // removed while we waited
	}
	if err := s.endSandbox(ctx, e); err != nil {
		return err
	}
	for _, c := range s.containersOf(id) {
		if err := s.removeContainer(ctx, c.id); err != nil {
			return err
		}
	}
	if err := s.clearSandbox(s.sandboxRecordOf(e)); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.sandboxes, id)
	s.mu.Unlock()
	s.sandboxEvent(id, keeper.EventRemoved)
	s.memory.touch()
	return nil
}
