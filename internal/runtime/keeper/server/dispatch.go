package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// call serves a request that is one question and one answer.
func (s *Server) call(ctx context.Context, m keeper.Method, body []byte) (any, error) {
	switch m {
	case keeper.MethodStartSandbox:
		return with(m, body, func(in keeper.Sandbox) (any, error) { return s.startSandbox(in) })
	case keeper.MethodStopSandbox:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return nil, s.stopSandbox(ctx, in.ID) })
	case keeper.MethodRemoveSandbox:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return nil, s.removeSandbox(ctx, in.ID) })
	case keeper.MethodSandbox:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return s.sandboxStatus(in.ID) })
	case keeper.MethodSandboxes:
		return s.listSandboxes(), nil
	case keeper.MethodCreate:
		return with(m, body, func(in keeper.Container) (any, error) { return s.create(in) })
	case keeper.MethodStart:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return s.startContainer(ctx, in.ID) })
	case keeper.MethodRun:
		return with(m, body, func(in keeper.Container) (any, error) {
			if _, err := s.create(in); err != nil {
				return nil, err
			}
			return s.startContainer(ctx, in.ID)
		})
	case keeper.MethodSignal:
		return with(m, body, func(in keeper.SignalRequest) (any, error) { return nil, s.signal(in) })
	case keeper.MethodRemove:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return nil, s.removeContainer(ctx, in.ID) })
	case keeper.MethodContainer:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return s.containerStatus(in.ID) })
	case keeper.MethodContainers:
		return s.listContainers(), nil
	case keeper.MethodResize:
		return with(m, body, func(in keeper.ResizeRequest) (any, error) { return nil, s.resize(in) })
	case keeper.MethodReopenLog:
		return with(m, body, func(in keeper.IDRequest) (any, error) { return nil, s.reopenLog(in.ID) })
	case keeper.MethodUpdateResources:
		return with(m, body, func(in keeper.UpdateRequest) (any, error) { return nil, s.updateResources(in) })
	case keeper.MethodStats:
		return with(m, body, func(in keeper.StatsRequest) (any, error) { return s.stats(in.IDs), nil })
	case keeper.MethodVersion:
		return s.version(), nil
	}
	return nil, fmt.Errorf("method %q: %w", m, keeper.ErrInvalid)
}

// with decodes the body for f.
func with[T any](m keeper.Method, body []byte, f func(T) (any, error)) (any, error) {
	in, err := decodeBody[T](m, body)
	if err != nil {
		return nil, err
	}
	return f(in)
}

func (s *Server) create(in keeper.Container) (keeper.ContainerStatus, error) {
	c, err := s.createContainer(in)
	if err != nil {
		return keeper.ContainerStatus{}, err
	}
	return s.containerStatus(c.id)
}

// stats reads the cgroups of what runs; see keeper.Keeper.
func (s *Server) stats(ids []string) []keeper.Stats {
	if len(ids) == 0 {
		for _, st := range s.listContainers() {
			if st.State == keeper.Running {
				ids = append(ids, st.ID)
			}
		}
	}
	all := make([]keeper.Stats, 0, len(ids))
	for _, id := range ids {
		path := s.cgroupOf(id)
		if path == "" {
			continue
		}
		st, err := s.cgroups.Stats(path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.cfg.Log.Warn("read cgroup statistics", "id", id, "err", err)
			}
			continue
		}
		st.ID = id
		all = append(all, st)
	}
	return all
}

// cgroupOf is the cgroup of what runs under an ID, "" for none.
func (s *Server) cgroupOf(id string) string {
	if strings.HasPrefix(id, "/") {
		if strings.Contains(id, "..") {
			return ""
		}
		return id
	}
	if st, err := s.containerStatus(id); err == nil && st.State == keeper.Running {
		return st.Cgroup
	}
	if st, err := s.sandboxStatus(id); err == nil && st.Running {
		return st.Cgroup
	}
	return ""
}
