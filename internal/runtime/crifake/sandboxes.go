package crifake

import (
	"context"
	"slices"
	"sort"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type sandbox struct {
	id      string
	config  *runtimeapi.PodSandboxConfig
	handler string
	created int64
	ready   bool
	ip      string
}

func hostNetwork(c *runtimeapi.PodSandboxConfig) bool {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

// status shares what it has of the configuration, which never changes: readers only read.
func (s *sandbox) status() *runtimeapi.PodSandboxStatus {
	c := s.config
	return &runtimeapi.PodSandboxStatus{
		Id: s.id, Metadata: c.Metadata, State: s.state(), CreatedAt: s.created,
		Network:     &runtimeapi.PodSandboxNetworkStatus{Ip: s.ip},
		Linux:       &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: c.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
		Labels:      c.Labels,
		Annotations: c.Annotations, RuntimeHandler: s.handler,
	}
}

func (s *sandbox) summary() *runtimeapi.PodSandbox {
	c := s.config
	return &runtimeapi.PodSandbox{
		Id: s.id, Metadata: c.Metadata, State: s.state(), CreatedAt: s.created,
		Labels: c.Labels, Annotations: c.Annotations, RuntimeHandler: s.handler,
	}
}

func sameSandbox(a, b *runtimeapi.PodSandboxMetadata) bool {
	return a.GetName() == b.GetName() && a.GetNamespace() == b.GetNamespace() &&
		a.GetUid() == b.GetUid() && a.GetAttempt() == b.GetAttempt()
}

// RunPodSandbox makes a ready sandbox with an address.
func (r *Runtime) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	return call(ctx, r, "RunPodSandbox", req, func() (*runtimeapi.RunPodSandboxResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if req.GetConfig().GetMetadata() == nil {
			return nil, status.Error(codes.InvalidArgument, "sandbox config must include metadata")
		}
		if h := req.RuntimeHandler; h != "" && !slices.Contains(r.cfg.Handlers, h) {
			return nil, status.Errorf(codes.InvalidArgument, "no runtime for %q is configured", h)
		}
		for _, s := range r.sandboxes {
			if sameSandbox(s.config.Metadata, req.Config.Metadata) {
				return nil, status.Errorf(codes.AlreadyExists, "a sandbox of this pod and attempt exists: %s", s.id)
			}
		}
		s := &sandbox{
			id: r.newID(), config: proto.CloneOf(req.Config), handler: req.RuntimeHandler,
			created: r.clock.Now().UnixNano(), ready: true,
		}
		if !hostNetwork(s.config) {
			s.ip = r.nextIP.String()
			r.nextIP = r.nextIP.Next()
		}
		r.sandboxes[s.id] = s
		r.emit(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, s.id, s)
		r.emit(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, s.id, s)
		return &runtimeapi.RunPodSandboxResponse{PodSandboxId: s.id}, nil
	})
}

// stopSandbox kills what runs in it; r.mu is held.
func (r *Runtime) stopSandbox(s *sandbox) {
	for _, c := range r.containersOf(s.id) {
		r.exit(c, end{code: 137, at: r.clock.Now()})
	}
	if s.ready {
		s.ready = false
		s.ip = ""
		r.emit(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, s.id, s)
	}
}

// StopPodSandbox kills the sandbox and all in it.
func (r *Runtime) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return call(ctx, r, "StopPodSandbox", req, func() (*runtimeapi.StopPodSandboxResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if s := r.sandboxes[req.PodSandboxId]; s != nil {
			r.stopSandbox(s)
		}
		return &runtimeapi.StopPodSandboxResponse{}, nil
	})
}

// RemovePodSandbox removes the sandbox and its containers.
func (r *Runtime) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return call(ctx, r, "RemovePodSandbox", req, func() (*runtimeapi.RemovePodSandboxResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		s := r.sandboxes[req.PodSandboxId]
		if s == nil {
			return &runtimeapi.RemovePodSandboxResponse{}, nil
		}
		r.stopSandbox(s)
		for _, c := range r.containersOf(s.id) {
			r.remove(c)
		}
		delete(r.sandboxes, s.id)
		r.emit(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, s.id, s)
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	})
}

// KillSandbox ends a sandbox's pause process behind everybody's back; with it
// its containers die, as they do when PID 1 of their namespaces goes.
func (r *Runtime) KillSandbox(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sandboxes[id]; s != nil {
		r.stopSandbox(s)
	}
}

// PodSandboxStatus returns the status of one sandbox and its containers.
func (r *Runtime) PodSandboxStatus(ctx context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return call(ctx, r, "PodSandboxStatus", req, func() (*runtimeapi.PodSandboxStatusResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		s := r.sandboxes[req.PodSandboxId]
		if s == nil {
			return nil, notFoundSandbox(req.PodSandboxId)
		}
		return &runtimeapi.PodSandboxStatusResponse{
			Status: s.status(), ContainersStatuses: r.statusesOf(s.id), Timestamp: r.clock.Now().UnixNano(),
		}, nil
	})
}

// ListPodSandbox lists sandboxes, newest first.
func (r *Runtime) ListPodSandbox(ctx context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return call(ctx, r, "ListPodSandbox", req, func() (*runtimeapi.ListPodSandboxResponse, error) {
		return &runtimeapi.ListPodSandboxResponse{Items: r.listSandboxes(req.GetFilter())}, nil
	})
}

func (r *Runtime) listSandboxes(f *runtimeapi.PodSandboxFilter) []*runtimeapi.PodSandbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*runtimeapi.PodSandbox
	for _, s := range r.sandboxes {
		if f.GetId() != "" && f.Id != s.id || f.GetState() != nil && f.State.State != s.state() || !matches(f.GetLabelSelector(), s.config.Labels) {
			continue
		}
		out = append(out, s.summary())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Id > out[j].Id })
	return out
}

// StreamPodSandboxes is ListPodSandbox as a stream.
func (r *Runtime) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxesResponse]) error {
	items, err := call(stream.Context(), r, "StreamPodSandboxes", req, func() ([]*runtimeapi.PodSandbox, error) {
		return r.listSandboxes(req.GetFilter()), nil
	})
	if err != nil || len(items) == 0 {
		return err
	}
	return stream.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: items})
}

func notFoundSandbox(id string) error {
	return status.Errorf(codes.NotFound, "sandbox %s not found", id)
}
