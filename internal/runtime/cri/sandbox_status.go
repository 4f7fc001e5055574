package cri

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready() {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

// cri is the status of the sandbox; Service.mu is held. The config is shared: it
// never changes, and callers must not change an answer.
func (s *sandbox) cri() *runtimeapi.PodSandboxStatus {
	c := s.config()
	return &runtimeapi.PodSandboxStatus{
		Id: s.id, Metadata: c.Metadata, State: s.state(), CreatedAt: s.record.Created.UnixNano(),
		Network:        s.network(),
		Linux:          &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: namespaceOptions(c)}},
		Labels:         c.Labels,
		Annotations:    c.Annotations,
		RuntimeHandler: s.record.Handler,
	}
}

func (s *sandbox) network() *runtimeapi.PodSandboxNetworkStatus {
	out := &runtimeapi.PodSandboxNetworkStatus{}
	if s.record.Detached {
		return out
	}
	for i, ip := range s.record.IPs {
		if i == 0 {
			out.Ip = ip.String()
		} else {
			out.AdditionalIps = append(out.AdditionalIps, &runtimeapi.PodIP{Ip: ip.String()})
		}
	}
	return out
}

func (s *sandbox) sorted() []*container {
	out := make([]*container, 0, len(s.containers))
	for _, c := range s.containers {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *container) int { return a.record.Created.Compare(b.record.Created) })
	return out
}

func (s *sandbox) containerStatuses() []*runtimeapi.ContainerStatus {
	out := make([]*runtimeapi.ContainerStatus, 0, len(s.containers))
	for _, c := range s.sorted() {
		out = append(out, c.cri())
	}
	return out
}

// PodSandboxStatus returns the status of a sandbox and of its containers.
func (s *Service) PodSandboxStatus(_ context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := find(s.sandboxes, req.PodSandboxId)
	if sb == nil {
		return nil, noSandbox(req.PodSandboxId)
	}
	resp := &runtimeapi.PodSandboxStatusResponse{
		Status: sb.cri(), ContainersStatuses: sb.containerStatuses(), Timestamp: time.Now().UnixNano(),
	}
	if req.Verbose {
		resp.Info = info(map[string]any{
			"pid": sb.status.PID, "netns": sb.status.NetNS, "ipcns": sb.status.IPCNS, "utsns": sb.status.UTSNS,
			"pidns": sb.status.PIDNS, "userns": sb.status.UserNS, "shm": sb.status.Shm, "cgroup": sb.status.Cgroup,
			"config": sb.config(),
		})
	}
	return resp, nil
}

// info is the map that verbose answers carry: JSON under one key, as crictl shows it.
func info(v any) map[string]string {
	data, err := json.Marshal(v)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return map[string]string{"info": string(data)}
}

func noSandbox(id string) error {
	return fail(codes.NotFound, "pod sandbox %q: not found", id)
}

// ListPodSandbox lists sandboxes, newest first.
func (s *Service) ListPodSandbox(_ context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return &runtimeapi.ListPodSandboxResponse{Items: s.listSandboxes(req.GetFilter())}, nil
}

func (s *Service) listSandboxes(f *runtimeapi.PodSandboxFilter) []*runtimeapi.PodSandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*runtimeapi.PodSandbox{}
	for _, sb := range s.sandboxes {
		c := sb.config()
		if !strings.HasPrefix(sb.id, f.GetId()) || f.GetState() != nil && f.State.State != sb.state() || !selects(f.GetLabelSelector(), c.Labels) {
			continue
		}
		out = append(out, &runtimeapi.PodSandbox{
			Id: sb.id, Metadata: c.Metadata, State: sb.state(), CreatedAt: sb.record.Created.UnixNano(),
			Labels: c.Labels, Annotations: c.Annotations, RuntimeHandler: sb.record.Handler,
		})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].CreatedAt > out[j].CreatedAt })
	return out
}

// selects tells whether labels have all pairs of the selector.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// streamChunk is how many items one message of a streamed list carries: far
// below gRPC's message limit, whatever their annotations hold.
const streamChunk = 100

func sendChunks[T any](items []T, send func([]T) error) error {
	for chunk := range slices.Chunk(items, streamChunk) {
		if err := send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// StreamPodSandboxes is ListPodSandbox in pieces.
func (s *Service) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxesResponse]) error {
	return sendChunks(s.listSandboxes(req.GetFilter()), func(c []*runtimeapi.PodSandbox) error {
		return stream.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: c})
	})
}

// UpdatePodSandboxResources has nothing to do: the caller owns the pod's cgroup,
// and pause needs no limits of its own.
func (s *Service) UpdatePodSandboxResources(_ context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	if s.sandbox(req.PodSandboxId) == nil {
		return nil, noSandbox(req.PodSandboxId)
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}
