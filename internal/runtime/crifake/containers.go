package crifake

import (
	"context"
	"path/filepath"
	"sort"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
)

type container struct {
	id, sandboxID string
	config        *runtimeapi.ContainerConfig
	logPath       string
	imageID       string
	imageRef      string
	program       Program
	created       time.Time
	started       time.Time
	finished      time.Time
	state         runtimeapi.ContainerState
	code          int32
	reason        string
	message       string
	done          chan struct{} // closed at the exit
	timers        []clock.Timer
}

// end is how and when a container ended.
type end struct {
	code            int32
	reason, message string
	at              time.Time
}

// status shares what never changes with the configuration: readers only read.
func (c *container) status() *runtimeapi.ContainerStatus {
	cfg := c.config
	st := &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: cfg.Metadata, State: c.state, CreatedAt: c.created.UnixNano(),
		Image: cfg.Image, ImageRef: c.imageRef, ImageId: c.imageID,
		Reason: c.reason, Message: c.message, Labels: cfg.Labels, Annotations: cfg.Annotations,
		Mounts: cfg.Mounts, LogPath: c.logPath, StopSignal: cfg.StopSignal,
		Resources: &runtimeapi.ContainerResources{Linux: proto.CloneOf(cfg.GetLinux().GetResources())},
		User: &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{
			Uid: cfg.GetLinux().GetSecurityContext().GetRunAsUser().GetValue(),
			Gid: cfg.GetLinux().GetSecurityContext().GetRunAsGroup().GetValue(),
		}},
	}
	if !c.started.IsZero() {
		st.StartedAt = c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		st.FinishedAt, st.ExitCode = c.finished.UnixNano(), c.code
	}
	return st
}

func (c *container) summary() *runtimeapi.Container {
	cfg := c.config
	return &runtimeapi.Container{
		Id: c.id, PodSandboxId: c.sandboxID, Metadata: cfg.Metadata, Image: cfg.Image,
		ImageRef: c.imageRef, ImageId: c.imageID, State: c.state, CreatedAt: c.created.UnixNano(),
		Labels: cfg.Labels, Annotations: cfg.Annotations,
	}
}

// containersOf a sandbox in order of creation; r.mu is held.
func (r *Runtime) containersOf(sandboxID string) []*container {
	var out []*container
	for _, c := range r.containers {
		if c.sandboxID == sandboxID {
			out = append(out, c)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

func (r *Runtime) statusesOf(sandboxID string) []*runtimeapi.ContainerStatus {
	var out []*runtimeapi.ContainerStatus
	for _, c := range r.containersOf(sandboxID) {
		out = append(out, c.status())
	}
	return out
}

// container finds one; r.mu is held.
func (r *Runtime) container(id string) (*container, error) {
	c := r.containers[id]
	if c == nil {
		return nil, status.Errorf(codes.NotFound, "container %s not found", id)
	}
	return c, nil
}

// CreateContainer makes a container in a ready sandbox from an image that is present.
func (r *Runtime) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	return call(ctx, r, "CreateContainer", req, func() (*runtimeapi.CreateContainerResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		s := r.sandboxes[req.PodSandboxId]
		switch {
		case s == nil:
			return nil, notFoundSandbox(req.PodSandboxId)
		case !s.ready:
			return nil, status.Errorf(codes.FailedPrecondition, "sandbox %s is not ready", s.id)
		case req.GetConfig().GetMetadata() == nil:
			return nil, status.Error(codes.InvalidArgument, "container config must include metadata")
		}
		for _, c := range r.containersOf(s.id) {
			if proto.Equal(c.config.Metadata, req.Config.Metadata) {
				return nil, status.Errorf(codes.AlreadyExists, "a container of this name and attempt exists: %s", c.id)
			}
		}
		img := r.find(req.Config.GetImage().GetImage())
		if img == nil {
			return nil, status.Errorf(codes.NotFound, "image %q not found", req.Config.GetImage().GetImage())
		}
		c := &container{
			id: r.newID(), sandboxID: s.id, config: proto.CloneOf(req.Config), created: r.clock.Now(),
			imageID: img.ID, imageRef: img.ref(), done: make(chan struct{}),
		}
		if dir := s.config.LogDirectory; dir != "" && c.config.LogPath != "" {
			c.logPath = filepath.Join(dir, c.config.LogPath)
		}
		r.containers[c.id] = c
		r.emit(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, c.id, s)
		return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
	})
}

// StartContainer begins the container's program.
func (r *Runtime) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return call(ctx, r, "StartContainer", req, func() (*runtimeapi.StartContainerResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c, err := r.container(req.ContainerId)
		if err != nil {
			return nil, err
		}
		s := r.sandboxes[c.sandboxID]
		if c.state != runtimeapi.ContainerState_CONTAINER_CREATED {
			return nil, status.Errorf(codes.FailedPrecondition, "container %s is in state %s", c.id, c.state)
		}
		if !s.ready {
			return nil, status.Errorf(codes.FailedPrecondition, "sandbox %s is not ready", s.id)
		}
		c.program = r.program(c)
		now := r.clock.Now()
		if err := c.program.StartError; err != nil {
			c.state = runtimeapi.ContainerState_CONTAINER_RUNNING // so that exit does its work
			r.exit(c, end{code: 128, reason: "StartError", message: err.Error(), at: now})
			c.started = time.Unix(0, 0)
			return nil, err
		}
		c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, now
		c.writeLog(now)
		r.emit(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, c.id, s)
		if p := c.program; p.ExitAfter > 0 {
			r.exitAfter(c, p.ExitAfter, p.naturalEnd())
		} else if p.ExitAtOnce || p.OOM {
			e := p.naturalEnd()
			e.at = now
			r.exit(c, e)
		}
		return &runtimeapi.StartContainerResponse{}, nil
	})
}

func (p Program) naturalEnd() end {
	if p.OOM {
		return end{code: 137, reason: "OOMKilled"}
	}
	return end{code: p.ExitCode, message: p.Message}
}

// exitAfter schedules an end; r.mu is held. The callback must not take r.mu
// itself: a fake clock runs it under the clock's own lock.
func (r *Runtime) exitAfter(c *container, d time.Duration, e end) {
	e.at = r.clock.Now().Add(d)
	c.timers = append(c.timers, r.clock.AfterFunc(d, func() {
		go func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.exit(c, e)
		}()
	}))
}

// exit ends a running container, once; r.mu is held.
func (r *Runtime) exit(c *container, e end) {
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return
	}
	for _, t := range c.timers {
		t.Stop()
	}
	if e.reason == "" {
		e.reason = "Completed"
		if e.code != 0 {
			e.reason = "Error"
		}
	}
	c.state, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, e.at
	c.code, c.reason = e.code, e.reason
	if e.reason == "StartError" {
		c.message = e.message
	} else {
		c.writeMessage(e.message)
	}
	r.ends[c.id] = c.code
	close(c.done)
	r.emit(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.id, r.sandboxes[c.sandboxID])
}

// Exit ends a running container now, as if its process did.
func (r *Runtime) Exit(id string, code int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[id]; c != nil {
		r.exit(c, end{code: code, at: r.clock.Now()})
	}
}

// OOMKill ends a running container now, for want of memory.
func (r *Runtime) OOMKill(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[id]; c != nil {
		r.exit(c, end{code: 137, reason: "OOMKilled", at: r.clock.Now()})
	}
}

// Forget removes a container behind everybody's back, without an event.
func (r *Runtime) Forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, id)
}

// StopContainer sends a TERM, waits for the end and kills after the timeout.
func (r *Runtime) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return call(ctx, r, "StopContainer", req, func() (*runtimeapi.StopContainerResponse, error) {
		r.mu.Lock()
		c := r.containers[req.ContainerId]
		if c == nil || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
			r.mu.Unlock()
			return &runtimeapi.StopContainerResponse{}, nil
		}
		r.signal(c, time.Duration(req.Timeout)*time.Second)
		r.mu.Unlock()
		select {
		case <-c.done:
			return &runtimeapi.StopContainerResponse{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

// signal is a TERM with a KILL to follow; r.mu is held.
func (r *Runtime) signal(c *container, grace time.Duration) {
	p, now := c.program, r.clock.Now()
	switch {
	case grace <= 0:
		r.exit(c, end{code: 137, at: now})
	case p.IgnoreTerm || p.TermAfter > grace:
		r.exitAfter(c, grace, end{code: 137})
	case p.TermAfter > 0:
		r.exitAfter(c, p.TermAfter, end{code: p.TermCode})
	default:
		r.exit(c, end{code: p.TermCode, at: now})
	}
}

// remove forgets a container, killing it first; r.mu is held.
func (r *Runtime) remove(c *container) {
	r.exit(c, end{code: 137, at: r.clock.Now()})
	delete(r.containers, c.id)
	r.emit(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, c.id, r.sandboxes[c.sandboxID])
}

// RemoveContainer removes the container, killing it first.
func (r *Runtime) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return call(ctx, r, "RemoveContainer", req, func() (*runtimeapi.RemoveContainerResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if c := r.containers[req.ContainerId]; c != nil {
			r.remove(c)
		}
		return &runtimeapi.RemoveContainerResponse{}, nil
	})
}

// ContainerStatus returns the status of one container.
func (r *Runtime) ContainerStatus(ctx context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return call(ctx, r, "ContainerStatus", req, func() (*runtimeapi.ContainerStatusResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c, err := r.container(req.ContainerId)
		if err != nil {
			return nil, err
		}
		return &runtimeapi.ContainerStatusResponse{Status: c.status()}, nil
	})
}

// ListContainers lists containers, newest first.
func (r *Runtime) ListContainers(ctx context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return call(ctx, r, "ListContainers", req, func() (*runtimeapi.ListContainersResponse, error) {
		return &runtimeapi.ListContainersResponse{Containers: r.listContainers(req.GetFilter())}, nil
	})
}

func (r *Runtime) listContainers(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.Container
	for _, c := range r.containers {
		if f.GetId() != "" && f.Id != c.id || f.GetPodSandboxId() != "" && f.PodSandboxId != c.sandboxID ||
			f.GetState() != nil && f.State.State != c.state || !matches(f.GetLabelSelector(), c.config.Labels) {
			continue
		}
		out = append(out, c.summary())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Id > out[j].Id })
	return out
}

// StreamContainers is ListContainers as a stream.
func (r *Runtime) StreamContainers(req *runtimeapi.StreamContainersRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamContainersResponse]) error {
	items, err := call(stream.Context(), r, "StreamContainers", req, func() ([]*runtimeapi.Container, error) {
		return r.listContainers(req.GetFilter()), nil
	})
	if err != nil || len(items) == 0 {
		return err
	}
	return stream.Send(&runtimeapi.StreamContainersResponse{Containers: items})
}

// UpdateContainerResources changes what the status says of the resources.
func (r *Runtime) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return call(ctx, r, "UpdateContainerResources", req, func() (*runtimeapi.UpdateContainerResourcesResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c, err := r.container(req.ContainerId)
		if err != nil {
			return nil, err
		}
		if c.config.Linux == nil {
			c.config.Linux = &runtimeapi.LinuxContainerConfig{}
		}
		if c.config.Linux.Resources == nil {
			c.config.Linux.Resources = &runtimeapi.LinuxContainerResources{}
		}
		proto.Merge(c.config.Linux.Resources, req.Linux) // zero leaves a limit as it is
		return &runtimeapi.UpdateContainerResourcesResponse{}, nil
	})
}
