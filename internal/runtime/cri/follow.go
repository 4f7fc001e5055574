package cri

import (
	"context"
	"errors"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// follow keeps the statuses in memory true to the keeper's, for ever. When the
// stream breaks (the keeper was replaced, we were too slow) it subscribes anew
// and lists.
func (s *Service) follow(ctx context.Context, changes <-chan keeper.Event) {
	for {
		for e := range changes {
			s.refresh(ctx, e)
		}
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			if ctx.Err() != nil {
				return
			}
			var err error
			if changes, err = s.cfg.Keeper.Events(ctx); err == nil {
				err = s.resync(ctx)
			}
			if err == nil {
				break
			}
			s.cfg.Log.Warn("keeper does not answer", "err", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	}
}

// refresh reads the status that an event speaks of.
func (s *Service) refresh(ctx context.Context, e keeper.Event) {
	if e.Type == keeper.EventRemoved || e.Type == keeper.EventCreated {
		return // our own doing
	}
	switch {
	case e.ContainerID != "":
		if st, err := s.cfg.Keeper.Container(ctx, e.ContainerID); err == nil {
			s.observe(st)
		} else if !errors.Is(err, keeper.ErrNotFound) && ctx.Err() == nil {
			s.cfg.Log.Warn("read container status", "container", e.ContainerID, "err", err)
		}
	case e.SandboxID != "":
		if st, err := s.cfg.Keeper.Sandbox(ctx, e.SandboxID); err == nil {
			s.observeSandbox(st)
		} else if !errors.Is(err, keeper.ErrNotFound) && ctx.Err() == nil {
			s.cfg.Log.Warn("read sandbox status", "sandbox", e.SandboxID, "err", err)
		}
	}
}

// resync reads all statuses. What the keeper no longer has, has ended unseen.
func (s *Service) resync(ctx context.Context) error {
	gone := s.known() // as of before the lists: what comes later may be missing in them
	sandboxes, err := s.cfg.Keeper.Sandboxes(ctx)
	if err != nil {
		return err
	}
	containers, err := s.cfg.Keeper.Containers(ctx)
	if err != nil {
		return err
	}
	for _, st := range containers {
		delete(gone, st.ID)
		s.observe(st)
	}
	for _, st := range sandboxes {
		delete(gone, st.ID)
		s.observeSandbox(st)
	}
	for id := range gone {
		s.observe(keeper.ContainerStatus{ID: id, State: keeper.Exited, FinishedAt: time.Now()})
		s.observeSandbox(keeper.SandboxStatus{ID: id})
	}
	return nil
}

// known are the IDs of all sandboxes and containers.
func (s *Service) known() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[string]bool{}
	for id := range s.sandboxes {
		ids[id] = true
	}
	for id, c := range s.containers {
		ids[id] = c.status.State != keeper.Exited
	}
	return ids
}

// observe takes a status from wherever it was learnt (an answer or an event) and
// tells subscribers of each step that it shows.
func (s *Service) observe(st keeper.ContainerStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[st.ID]
	if c == nil || rank(st.State) < rank(c.status.State) {
		return
	}
	before := c.status.State
	c.status = st
	if before == st.State {
		return
	}
	if before == keeper.Created && st.StartError == "" {
		s.emit(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, c.id, c.sandbox)
	}
	if st.State == keeper.Exited {
		close(c.exited)
		s.emit(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.id, c.sandbox)
	}
}

func (s *Service) observeSandbox(st keeper.SandboxStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := s.sandboxes[st.ID]
	if sb == nil || !sb.status.Running { // an ended one stays ended
		return
	}
	was := sb.ready()
	sb.status = st
	if was && !sb.ready() {
		s.emit(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, sb.id, sb)
	}
}
