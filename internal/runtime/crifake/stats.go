package crifake

import (
	"context"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

// stats of a container; r.mu is held.
func (r *Runtime) stats(c *container) *runtimeapi.ContainerStats {
	now, s, cfg := r.clock.Now().UnixNano(), c.program.Stats, proto.CloneOf(c.config)
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{Id: c.id, Metadata: cfg.Metadata, Labels: cfg.Labels, Annotations: cfg.Annotations},
		Cpu:        &runtimeapi.CpuUsage{Timestamp: now, UsageCoreNanoSeconds: value(s.CPUNanos), UsageNanoCores: value(0)},
		Memory:     &runtimeapi.MemoryUsage{Timestamp: now, WorkingSetBytes: value(s.WorkingSetBytes), UsageBytes: value(s.WorkingSetBytes), RssBytes: value(s.RSSBytes)},
		WritableLayer: &runtimeapi.FilesystemUsage{
			Timestamp: now, FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
			UsedBytes: value(s.DiskBytes), InodesUsed: value(s.Inodes),
		},
	}
}

// podStats sums up a sandbox; r.mu is held.
func (r *Runtime) podStats(s *sandbox) *runtimeapi.PodSandboxStats {
	now, cfg := r.clock.Now().UnixNano(), proto.CloneOf(s.config)
	var cpu, mem, rss, procs uint64
	linux := &runtimeapi.LinuxPodSandboxStats{}
	for _, c := range r.containersOf(s.id) {
		if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
			continue
		}
		st := r.stats(c)
		linux.Containers = append(linux.Containers, st)
		cpu += st.Cpu.UsageCoreNanoSeconds.Value
		mem += st.Memory.WorkingSetBytes.Value
		rss += st.Memory.RssBytes.Value
		procs++
	}
	linux.Cpu = &runtimeapi.CpuUsage{Timestamp: now, UsageCoreNanoSeconds: value(cpu), UsageNanoCores: value(0)}
	linux.Memory = &runtimeapi.MemoryUsage{Timestamp: now, WorkingSetBytes: value(mem), UsageBytes: value(mem), RssBytes: value(rss)}
	linux.Process = &runtimeapi.ProcessUsage{Timestamp: now, ProcessCount: value(procs)}
	linux.Network = &runtimeapi.NetworkUsage{Timestamp: now, DefaultInterface: &runtimeapi.NetworkInterfaceUsage{
		Name: "eth0", RxBytes: value(0), TxBytes: value(0), RxErrors: value(0), TxErrors: value(0),
	}}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{Id: s.id, Metadata: cfg.Metadata, Labels: cfg.Labels, Annotations: cfg.Annotations},
		Linux:      linux,
	}
}

// ContainerStats returns the stats of one container.
func (r *Runtime) ContainerStats(ctx context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	return call(ctx, r, "ContainerStats", req, func() (*runtimeapi.ContainerStatsResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c, err := r.container(req.ContainerId)
		if err != nil {
			return nil, err
		}
		return &runtimeapi.ContainerStatsResponse{Stats: r.stats(c)}, nil
	})
}

// ListContainerStats returns the stats of running containers.
func (r *Runtime) ListContainerStats(ctx context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return call(ctx, r, "ListContainerStats", req, func() (*runtimeapi.ListContainerStatsResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		out, f := &runtimeapi.ListContainerStatsResponse{}, req.GetFilter()
		for _, c := range r.containers {
			if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING || f.GetId() != "" && f.Id != c.id ||
				f.GetPodSandboxId() != "" && f.PodSandboxId != c.sandboxID || !matches(f.GetLabelSelector(), c.config.Labels) {
				continue
			}
			out.Stats = append(out.Stats, r.stats(c))
		}
		return out, nil
	})
}

// PodSandboxStats returns the stats of one sandbox.
func (r *Runtime) PodSandboxStats(ctx context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	return call(ctx, r, "PodSandboxStats", req, func() (*runtimeapi.PodSandboxStatsResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		s := r.sandboxes[req.PodSandboxId]
		if s == nil {
			return nil, notFoundSandbox(req.PodSandboxId)
		}
		return &runtimeapi.PodSandboxStatsResponse{Stats: r.podStats(s)}, nil
	})
}

// ListPodSandboxStats returns the stats of ready sandboxes.
func (r *Runtime) ListPodSandboxStats(ctx context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return call(ctx, r, "ListPodSandboxStats", req, func() (*runtimeapi.ListPodSandboxStatsResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		out, f := &runtimeapi.ListPodSandboxStatsResponse{}, req.GetFilter()
		for _, s := range r.sandboxes {
			if s.ready && (f.GetId() == "" || f.Id == s.id) && matches(f.GetLabelSelector(), s.config.Labels) {
				out.Stats = append(out.Stats, r.podStats(s))
			}
		}
		return out, nil
	})
}
