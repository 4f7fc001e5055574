package cri

import (
	"context"
	"errors"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

func (s *Service) sandbox(id string) *sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return find(s.sandboxes, id)
}

// StopPodSandbox kills all that runs in the sandbox and gives its addresses back.
func (s *Service) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	sb := s.sandbox(req.PodSandboxId)
	if sb == nil {
		return &runtimeapi.StopPodSandboxResponse{}, nil
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if err := s.stopSandbox(ctx, sb); err != nil {
		return nil, wrap(err, "stop pod sandbox %s", sb.id)
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

// stopSandbox is idempotent; sb.op is held.
func (s *Service) stopSandbox(ctx context.Context, sb *sandbox) error {
	s.mu.Lock()
	sb.closing = true
	stopped := sb.record.Detached
	s.mu.Unlock()
	sb.creating.Wait()
	if stopped {
		return nil
	}
	if err := s.cfg.Keeper.StopSandbox(ctx, sb.id); err != nil {
		return err
	}
	if err := s.observeEnds(ctx, sb); err != nil {
		return err
	}
	if !hostNetwork(sb.config()) {
		if err := s.cfg.Network.Detach(ctx, sb.id); err != nil {
			return err
		}
	}
	s.mu.Lock()
	record := sb.record
	record.Detached = true
	s.mu.Unlock()
	if err := s.store.saveSandbox(&record); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb.record = record
	return nil
}

// observeEnds reads how the containers of a stopped sandbox ended, so that who
// asks after StopPodSandbox sees no running ones.
func (s *Service) observeEnds(ctx context.Context, sb *sandbox) error {
	for _, c := range s.containersOf(sb) {
		st, err := s.cfg.Keeper.Container(ctx, c.id)
		if err == nil {
			s.observe(st)
		} else if !errors.Is(err, keeper.ErrNotFound) {
			return err
		}
	}
	st, err := s.cfg.Keeper.Sandbox(ctx, sb.id)
	if errors.Is(err, keeper.ErrNotFound) {
		st, err = keeper.SandboxStatus{ID: sb.id}, nil
	}
	if err == nil {
		s.observeSandbox(st)
	}
	return err
}

// containersOf a sandbox, in order of creation.
func (s *Service) containersOf(sb *sandbox) []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sb.sorted()
}

// RemovePodSandbox stops the sandbox and removes it with its containers.
func (s *Service) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	sb := s.sandbox(req.PodSandboxId)
	if sb == nil {
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if s.sandbox(sb.id) == nil { // somebody else removed it while we waited
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	}
	if err := s.removeSandbox(ctx, sb); err != nil {
		return nil, wrap(err, "remove pod sandbox %s", sb.id)
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

func (s *Service) removeSandbox(ctx context.Context, sb *sandbox) error {
	if err := s.stopSandbox(ctx, sb); err != nil {
		return err
	}
	for _, c := range s.containersOf(sb) {
		if err := s.removeContainer(ctx, c); err != nil {
			return err
		}
	}
	if err := s.cfg.Keeper.RemoveSandbox(ctx, sb.id); err != nil {
		return err
	}
	if err := s.store.removeSandbox(sb.id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sandboxes, sb.id)
	delete(s.names, podName(sb.config().Metadata))
	s.emit(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, sb.id, sb)
	return nil
}
