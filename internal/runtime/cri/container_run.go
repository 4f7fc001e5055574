package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

func (s *Service) container(id string) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return find(s.containers, id)
}

func noContainer(id string) error {
	return fail(codes.NotFound, "container %q: not found", id)
}

// snapshot is a container's status and whether its sandbox still lives.
func (s *Service) snapshot(c *container) (st keeper.ContainerStatus, sandboxReady bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.status, c.sandbox.ready() && !c.sandbox.closing
}

// StartContainer lets the container's process run. A process that can't be
// started leaves the container exited with code 128 and the reason.
func (s *Service) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return nil, noContainer(req.ContainerId)
	}
	c.op.Lock()
	defer c.op.Unlock()
	st, ready := s.snapshot(c)
	if st.State != keeper.Created {
		return nil, fail(codes.FailedPrecondition, "container %s is %s, not created", c.id, st.State)
	}
	if !ready {
		return nil, fail(codes.FailedPrecondition, "start container %s: pod sandbox %s is not ready", c.id, c.sandbox.id)
	}
	st, err := s.cfg.Keeper.Start(ctx, c.id)
	if err == nil {
		s.observe(st)
		return &runtimeapi.StartContainerResponse{}, nil
	}
	undo, cancel := undoContext(ctx)
	defer cancel()
	if st, statusErr := s.cfg.Keeper.Container(undo, c.id); statusErr == nil {
		s.observe(st)
	}
	var start *keeper.StartError
	if errors.As(err, &start) {
		return nil, fail(codes.Unknown, "%w", start)
	}
	return nil, wrap(err, "start container %s", c.id)
}

// RemoveContainer removes the container, killing it if it runs. Its log stays.
func (s *Service) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return &runtimeapi.RemoveContainerResponse{}, nil
	}
	if err := s.removeContainer(ctx, c); err != nil {
		return nil, wrap(err, "remove container %s", c.id)
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

// removeContainer is idempotent: the process, the mounts and snapshots, and the
// record last, so that a crash in between is found and finished.
func (s *Service) removeContainer(ctx context.Context, c *container) error {
	c.op.Lock()
	defer c.op.Unlock()
	if s.container(c.id) == nil {
		return nil
	}
	if err := s.cfg.Keeper.Remove(ctx, c.id); err != nil {
		return err
	}
	if err := s.dropRootfs(ctx, c.id, c.record.Volumes); err != nil {
		return err
	}
	if err := s.store.removeContainer(c.id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, c.id)
	delete(c.sandbox.containers, c.id)
	delete(s.names, containerName(c.sandbox.id, c.record.Config.Metadata))
	s.emit(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, c.id, c.sandbox)
	return nil
}

// ReopenContainerLog makes the keeper open the log's path anew.
func (s *Service) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return nil, noContainer(req.ContainerId)
	}
	if st, _ := s.snapshot(c); st.State != keeper.Running {
		return nil, fail(codes.FailedPrecondition, "container %s is %s, not running", c.id, st.State)
	}
	if err := s.cfg.Keeper.ReopenLog(ctx, c.id); err != nil {
		return nil, wrap(err, "reopen log of container %s", c.id)
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}
