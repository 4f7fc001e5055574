package cri

import (
	"context"
	"errors"
	"syscall"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// StopContainer sends the stop signal, waits for the end, and kills when the
// timeout is used up. Calls may overlap; the shortest timeout decides.
func (s *Service) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return &runtimeapi.StopContainerResponse{}, nil
	}
	if st, _ := s.snapshot(c); st.State != keeper.Running {
		return &runtimeapi.StopContainerResponse{}, nil
	}
	if req.Timeout > 0 {
		stopped, err := s.signalAndWait(ctx, c, stopSignal(c.record.Config, c.record.StopSignal), false, time.Duration(req.Timeout)*time.Second)
		if err != nil {
			return nil, wrap(err, "stop container %s", c.id)
		}
		if stopped {
			return &runtimeapi.StopContainerResponse{}, nil
		}
	}
	stopped, err := s.signalAndWait(ctx, c, syscall.SIGKILL, true, killTimeout)
	if err == nil && !stopped {
		err = errors.New("it does not end after a KILL: a process may hang in the kernel")
	}
	if err != nil {
		return nil, wrap(err, "kill container %s", c.id)
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// killTimeout is how long the kernel may take to end a killed process, as when
// it waits for a disk.
const killTimeout = 2 * time.Minute

// signalAndWait reports whether the container has exited within the time.
func (s *Service) signalAndWait(ctx context.Context, c *container, sig syscall.Signal, all bool, timeout time.Duration) (bool, error) {
	err := s.cfg.Keeper.Signal(ctx, c.id, sig, all)
	if errors.Is(err, keeper.ErrNotRunning) || errors.Is(err, keeper.ErrNotFound) {
		// It ended in between: its last status is on its way, take it now.
		if st, err := s.cfg.Keeper.Container(ctx, c.id); err == nil {
			s.observe(st)
		}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
