package cri

import (
	"context"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Reasons of a container's state, the words that kubectl shows.
const (
	reasonCompleted  = "Completed"
	reasonError      = "Error"
	reasonOOMKilled  = "OOMKilled"
	reasonStartError = "StartError"
	reasonUnknown    = "ContainerStatusUnknown"
)

// unknownExitCode is for a container whose end nobody saw.
const unknownExitCode = 255

func (c *container) state() runtimeapi.ContainerState {
	switch c.status.State {
	case keeper.Created:
		return runtimeapi.ContainerState_CONTAINER_CREATED
	case keeper.Running:
		return runtimeapi.ContainerState_CONTAINER_RUNNING
	case keeper.Exited:
		return runtimeapi.ContainerState_CONTAINER_EXITED
	}
	return runtimeapi.ContainerState_CONTAINER_UNKNOWN
}

// cri is the full status; Service.mu is held. Its parts are shared, see sandbox.cri.
func (c *container) cri() *runtimeapi.ContainerStatus {
	r, st := &c.record, &c.status
	out := &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: r.Config.Metadata, State: c.state(),
		CreatedAt: r.Created.UnixNano(), StartedAt: nanos(st.StartedAt), FinishedAt: nanos(st.FinishedAt),
		Image: r.Config.Image, ImageRef: r.ImageRef, ImageId: r.ImageID,
		Labels: r.Config.Labels, Annotations: r.Config.Annotations, Mounts: r.Config.Mounts, LogPath: r.LogPath,
		Resources:  &runtimeapi.ContainerResources{Linux: r.Config.GetLinux().GetResources()},
		User:       c.user(),
		StopSignal: reported(r.Config, r.StopSignal),
	}
	if st.State == keeper.Exited {
		out.ExitCode, out.Reason, out.Message = ending(*st)
	}
	return out
}

// ending says how a container ended.
func ending(st keeper.ContainerStatus) (code int32, reason, message string) {
	switch {
	case st.StartError != "":
		return keeper.StartExitCode, reasonStartError, st.StartError
	case !st.ExitKnown:
		return unknownExitCode, reasonUnknown, "the container ended while nobody watched, and the kernel does not tell its exit code"
	case st.OOMKilled:
		return int32(st.ExitCode), reasonOOMKilled, ""
	case st.ExitCode == 0:
		return 0, reasonCompleted, ""
	}
	return int32(st.ExitCode), reasonError, ""
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (c *container) user() *runtimeapi.ContainerUser {
	if c.record.Process == nil {
		return nil
	}
	u := c.record.Process.User
	out := &runtimeapi.LinuxContainerUser{Uid: int64(u.UID), Gid: int64(u.GID)}
	for _, g := range u.AdditionalGids {
		out.SupplementalGroups = append(out.SupplementalGroups, int64(g))
	}
	return &runtimeapi.ContainerUser{Linux: out}
}

// ContainerStatus returns the status of a container.
func (s *Service) ContainerStatus(_ context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := find(s.containers, req.ContainerId)
	if c == nil {
		return nil, noContainer(req.ContainerId)
	}
	resp := &runtimeapi.ContainerStatusResponse{Status: c.cri()}
	if req.Verbose {
		resp.Info = info(map[string]any{
			"pid": c.status.PID, "sandboxID": c.sandbox.id, "cgroup": c.record.Cgroup, "rootfs": s.rootfs(c.id),
			"process": c.record.Process, "config": c.record.Config, "signal": c.status.Signal,
		})
	}
	return resp, nil
}

// ListContainers lists containers, newest first.
func (s *Service) ListContainers(_ context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: s.listContainers(req.GetFilter())}, nil
}

func (s *Service) listContainers(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*runtimeapi.Container{}
	for _, c := range s.containers {
		cfg := c.record.Config
		if !strings.HasPrefix(c.id, f.GetId()) || !strings.HasPrefix(c.sandbox.id, f.GetPodSandboxId()) ||
			f.GetState() != nil && f.State.State != c.state() || !selects(f.GetLabelSelector(), cfg.Labels) {
			continue
		}
		out = append(out, &runtimeapi.Container{
			Id: c.id, PodSandboxId: c.sandbox.id, Metadata: cfg.Metadata, Image: cfg.Image,
			ImageRef: c.record.ImageRef, ImageId: c.record.ImageID, State: c.state(),
			CreatedAt: c.record.Created.UnixNano(), Labels: cfg.Labels, Annotations: cfg.Annotations,
		})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].CreatedAt > out[j].CreatedAt })
	return out
}

// StreamContainers is ListContainers in pieces.
func (s *Service) StreamContainers(req *runtimeapi.StreamContainersRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamContainersResponse]) error {
	return sendChunks(s.listContainers(req.GetFilter()), func(c []*runtimeapi.Container) error {
		return stream.Send(&runtimeapi.StreamContainersResponse{Containers: c})
	})
}
