package fake

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

type sandbox struct {
	status keeper.SandboxStatus
}

// StartSandbox makes a sandbox whose namespace paths name no real files.
func (k *Keeper) StartSandbox(ctx context.Context, s keeper.Sandbox) (keeper.SandboxStatus, error) {
	if err := s.Validate(); err != nil {
		return keeper.SandboxStatus{}, err
	}
	if err := k.begin(ctx, "StartSandbox"); err != nil {
		return keeper.SandboxStatus{}, err
	}
	defer k.mu.Unlock()
	if k.sandboxes[s.ID] != nil {
		return keeper.SandboxStatus{}, fmt.Errorf("sandbox %s: %w", s.ID, keeper.ErrExists)
	}
	st := keeper.SandboxStatus{
		ID: s.ID, PID: k.pidLocked(), Running: true, CreatedAt: k.now(), Cgroup: s.Cgroup, Meta: s.Meta,
		UTSNS: "/fake/utsns/" + s.ID,
	}
	if s.HostNetwork {
		st.UTSNS = ""
	} else {
		st.NetNS = "/fake/netns/" + s.ID
	}
	if !s.HostIPC {
		st.IPCNS, st.Shm = "/fake/ipcns/"+s.ID, "/fake/shm/"+s.ID
	}
	if s.SharePID {
		st.PIDNS = "/fake/pidns/" + s.ID
	}
	if len(s.UIDMappings) > 0 {
		st.UserNS = "/fake/userns/" + s.ID
	}
	k.sandboxes[s.ID] = &sandbox{status: st}
	k.emitLocked(keeper.Event{SandboxID: s.ID, Type: keeper.EventStarted, At: k.now()})
	return st, nil
}

// StopSandbox ends pause and the sandbox's containers.
func (k *Keeper) StopSandbox(ctx context.Context, id string) error {
	if err := k.begin(ctx, "StopSandbox"); err != nil {
		return err
	}
	var procs []*process
	for _, c := range k.containers {
		switch {
		case c.status.SandboxID != id:
		case c.proc != nil:
			c.proc.kill(syscall.SIGKILL)
			procs = append(procs, c.proc)
		case c.status.State == keeper.Created:
			k.killUnstartedLocked(c)
		}
	}
	if s := k.sandboxes[id]; s != nil {
		k.endSandboxLocked(s)
	}
	k.mu.Unlock()
	return waitAll(ctx, procs)
}

func (k *Keeper) endSandboxLocked(s *sandbox) {
	if !s.status.Running {
		return
	}
	s.status.Running, s.status.PID, s.status.FinishedAt = false, 0, k.now()
	k.emitLocked(keeper.Event{SandboxID: s.status.ID, Type: keeper.EventExited, At: k.now()})
}

// RemoveSandbox stops and forgets the sandbox and its containers.
func (k *Keeper) RemoveSandbox(ctx context.Context, id string) error {
	if err := k.StopSandbox(ctx, id); err != nil {
		return err
	}
	if err := k.begin(ctx, "RemoveSandbox"); err != nil {
		return err
	}
	defer k.mu.Unlock()
	for cid, c := range k.containers {
		if c.status.SandboxID == id {
			k.forgetLocked(cid)
		}
	}
	if k.sandboxes[id] != nil {
		delete(k.sandboxes, id)
		k.emitLocked(keeper.Event{SandboxID: id, Type: keeper.EventRemoved, At: k.now()})
	}
	return nil
}

// Sandbox tells the status of one sandbox.
func (k *Keeper) Sandbox(ctx context.Context, id string) (keeper.SandboxStatus, error) {
	if err := k.begin(ctx, "Sandbox"); err != nil {
		return keeper.SandboxStatus{}, err
	}
	defer k.mu.Unlock()
	s := k.sandboxes[id]
	if s == nil {
		return keeper.SandboxStatus{}, fmt.Errorf("sandbox %s: %w", id, keeper.ErrNotFound)
	}
	return s.status, nil
}

// Sandboxes tells the status of all, by ID.
func (k *Keeper) Sandboxes(ctx context.Context) ([]keeper.SandboxStatus, error) {
	if err := k.begin(ctx, "Sandboxes"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	all := make([]keeper.SandboxStatus, 0, len(k.sandboxes))
	for _, s := range k.sandboxes {
		all = append(all, s.status)
	}
	slices.SortFunc(all, func(a, b keeper.SandboxStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}
