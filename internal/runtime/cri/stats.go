package cri

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

const (
	// rateWindow is the least time over which a rate of CPU use is computed.
	rateWindow = 500 * time.Millisecond
	// diskEvery is how long a measured size of a writable layer is good: it
	// takes a walk over all of its files.
	diskEvery = 10 * time.Second
)

// usageSample is the last CPU reading, for the rate; guarded by Service.mu.
type usageSample struct {
	at    time.Time
	cpu   uint64
	nanos uint64 // nanocores over the last window
}

// rate updates the sample with a reading and returns CPU nanoseconds a second.
func (u *usageSample) rate(at time.Time, cpu uint64) uint64 {
	elapsed := at.Sub(u.at)
	if u.at.IsZero() || cpu < u.cpu {
		*u = usageSample{at: at, cpu: cpu}
		return 0
	}
	if elapsed >= rateWindow {
		*u = usageSample{at: at, cpu: cpu, nanos: uint64(float64(cpu-u.cpu) / elapsed.Seconds())}
	}
	return u.nanos
}

type diskSample struct {
	at    time.Time
	usage Usage
}

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

func cpuUsage(st keeper.Stats, nanocores uint64) *runtimeapi.CpuUsage {
	return &runtimeapi.CpuUsage{
		Timestamp: st.At.UnixNano(), UsageCoreNanoSeconds: value(st.CPU.Usage), UsageNanoCores: value(nanocores), Psi: pressure(st.CPU.Pressure),
	}
}

func memoryUsage(st keeper.Stats) *runtimeapi.MemoryUsage {
	m := st.Memory
	out := &runtimeapi.MemoryUsage{
		Timestamp: st.At.UnixNano(), WorkingSetBytes: value(m.WorkingSet), UsageBytes: value(m.Usage), RssBytes: value(m.RSS),
		PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults), Psi: pressure(m.Pressure),
	}
	if m.Limit > m.WorkingSet {
		out.AvailableBytes = value(m.Limit - m.WorkingSet)
	}
	return out
}

// pressure converts; the kernel counts microseconds, the CRI nanoseconds.
func pressure(p *keeper.Pressure) *runtimeapi.PsiStats {
	if p == nil {
		return nil
	}
	line := func(l keeper.PressureLine) *runtimeapi.PsiData {
		return &runtimeapi.PsiData{Total: l.Total * 1000, Avg10: l.Avg10, Avg60: l.Avg60, Avg300: l.Avg300}
	}
	return &runtimeapi.PsiStats{Full: line(p.Full), Some: line(p.Some)}
}

// containerStats puts one container's readings together.
func (s *Service) containerStats(ctx context.Context, c *container, st keeper.Stats) *runtimeapi.ContainerStats {
	disk := s.diskUsage(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg := c.record.Config
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{Id: c.id, Metadata: cfg.Metadata, Labels: cfg.Labels, Annotations: cfg.Annotations},
		Cpu:        cpuUsage(st, c.usage.rate(st.At, st.CPU.Usage)),
		Memory:     memoryUsage(st),
		Swap:       &runtimeapi.SwapUsage{Timestamp: st.At.UnixNano(), SwapUsageBytes: value(st.Memory.Swap)},
		WritableLayer: &runtimeapi.FilesystemUsage{
			Timestamp: disk.at.UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: s.cfg.LayersDir},
			UsedBytes: value(uint64(disk.usage.Bytes)), InodesUsed: value(uint64(disk.usage.Inodes)),
		},
	}
}

// diskUsage measures the writable layer, or returns a measurement that is good still.
func (s *Service) diskUsage(ctx context.Context, c *container) diskSample {
	s.mu.Lock()
	last := c.disk
	s.mu.Unlock()
	if time.Since(last.at) < diskEvery {
		return last
	}
	usage, err := s.cfg.Images.Usage(ctx, c.id)
	if err != nil {
		s.cfg.Log.Debug("measure writable layer", "container", c.id, "err", err)
		usage = last.usage // it may be on its way out
	}
	last = diskSample{at: time.Now(), usage: usage}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.disk = last
	return last
}

// selectContainers picks containers; all is false for running ones only.
func (s *Service) selectContainers(all bool, keep func(c *container) bool) []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*container
	for _, c := range s.containers {
		if (all || c.status.State == keeper.Running) && keep(c) {
			out = append(out, c)
		}
	}
	return out
}

// readStats asks the keeper for all IDs at once.
func (s *Service) readStats(ctx context.Context, ids []string) (map[string]keeper.Stats, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := s.cfg.Keeper.Stats(ctx, ids...)
	if err != nil {
		return nil, wrap(err, "read statistics")
	}
	out := make(map[string]keeper.Stats, len(list))
	for _, st := range list {
		out[st.ID] = st
	}
	return out, nil
}

func (s *Service) statsOf(ctx context.Context, containers []*container) ([]*runtimeapi.ContainerStats, error) {
	ids := make([]string, 0, len(containers))
	for _, c := range containers {
		ids = append(ids, c.id)
	}
	readings, err := s.readStats(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := []*runtimeapi.ContainerStats{}
	for _, c := range containers {
		if st, ok := readings[c.id]; ok {
			out = append(out, s.containerStats(ctx, c, st))
		}
	}
	return out, nil
}

// ContainerStats returns the use of one container; of one that has ended, zeros
// but for its disk.
func (s *Service) ContainerStats(ctx context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return nil, noContainer(req.ContainerId)
	}
	readings, err := s.readStats(ctx, []string{c.id})
	if err != nil {
		return nil, err
	}
	st, ok := readings[c.id]
	if !ok {
		st = keeper.Stats{ID: c.id, At: time.Now()}
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.containerStats(ctx, c, st)}, nil
}

func (s *Service) listContainerStats(ctx context.Context, f *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	return s.statsOf(ctx, s.selectContainers(false, func(c *container) bool {
		return strings.HasPrefix(c.id, f.GetId()) && strings.HasPrefix(c.sandbox.id, f.GetPodSandboxId()) &&
			selects(f.GetLabelSelector(), c.record.Config.Labels)
	}))
}

// ListContainerStats returns the use of all running containers.
func (s *Service) ListContainerStats(ctx context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	list, err := s.listContainerStats(ctx, req.GetFilter())
	return &runtimeapi.ListContainerStatsResponse{Stats: list}, err
}

// StreamContainerStats is ListContainerStats in pieces.
func (s *Service) StreamContainerStats(req *runtimeapi.StreamContainerStatsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamContainerStatsResponse]) error {
	list, err := s.listContainerStats(stream.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(list, func(c []*runtimeapi.ContainerStats) error {
		return stream.Send(&runtimeapi.StreamContainerStatsResponse{ContainerStats: c})
	})
}

// podStats reads a pod: its own cgroup if it has one to itself, else the sum of
// its containers.
func (s *Service) podStats(ctx context.Context, sb *sandbox) (*runtimeapi.PodSandboxStats, error) {
	containers := s.selectContainers(false, func(c *container) bool { return c.sandbox == sb })
	ids := []string{sb.id}
	for _, c := range containers {
		ids = append(ids, c.id)
	}
	parent := sb.config().GetLinux().GetCgroupParent()
	if parent != "" {
		parent = s.cgroupParent(sb.config())
		ids = append(ids, parent)
	}
	readings, err := s.readStats(ctx, ids)
	if err != nil {
		return nil, err
	}
	linux := &runtimeapi.LinuxPodSandboxStats{}
	sum := readings[sb.id]
	for _, c := range containers {
		if st, ok := readings[c.id]; ok {
			linux.Containers = append(linux.Containers, s.containerStats(ctx, c, st))
			sum = add(sum, st)
		}
	}
	if st, ok := readings[parent]; ok && parent != "" {
		sum = st
	}
	if sum.At.IsZero() {
		sum.At = time.Now()
	}
	var rate uint64
	for _, c := range linux.Containers {
		rate += c.Cpu.UsageNanoCores.Value
	}
	linux.Cpu, linux.Memory = cpuUsage(sum, rate), memoryUsage(sum)
	linux.Process = &runtimeapi.ProcessUsage{Timestamp: sum.At.UnixNano(), ProcessCount: value(sum.PIDs)}
	s.mu.Lock()
	pid, host := sb.status.PID, hostNetwork(sb.config())
	s.mu.Unlock()
	if pid > 0 && !host {
		linux.Network = networkUsage(pid, time.Now())
	}
	cfg := sb.config()
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{Id: sb.id, Metadata: cfg.Metadata, Labels: cfg.Labels, Annotations: cfg.Annotations},
		Linux:      linux,
	}, nil
}

func add(a, b keeper.Stats) keeper.Stats {
	a.At = b.At
	a.CPU.Usage += b.CPU.Usage
	a.Memory.Usage += b.Memory.Usage
	a.Memory.WorkingSet += b.Memory.WorkingSet
	a.Memory.RSS += b.Memory.RSS
	a.Memory.PageFaults += b.Memory.PageFaults
	a.Memory.MajorPageFaults += b.Memory.MajorPageFaults
	a.PIDs += b.PIDs
	return a
}

// PodSandboxStats returns the use of one pod.
func (s *Service) PodSandboxStats(ctx context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	sb := s.sandbox(req.PodSandboxId)
	if sb == nil {
		return nil, noSandbox(req.PodSandboxId)
	}
	stats, err := s.podStats(ctx, sb)
	return &runtimeapi.PodSandboxStatsResponse{Stats: stats}, err
}

func (s *Service) listPodStats(ctx context.Context, f *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	s.mu.Lock()
	var picked []*sandbox
	for _, sb := range s.sandboxes {
		if sb.ready() && strings.HasPrefix(sb.id, f.GetId()) && selects(f.GetLabelSelector(), sb.config().Labels) {
			picked = append(picked, sb)
		}
	}
	s.mu.Unlock()
	out := []*runtimeapi.PodSandboxStats{}
	for _, sb := range picked {
		stats, err := s.podStats(ctx, sb)
		if err != nil {
			return nil, err
		}
		out = append(out, stats)
	}
	return out, nil
}

// ListPodSandboxStats returns the use of all ready pods.
func (s *Service) ListPodSandboxStats(ctx context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	list, err := s.listPodStats(ctx, req.GetFilter())
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: list}, err
}

// StreamPodSandboxStats is ListPodSandboxStats in pieces.
func (s *Service) StreamPodSandboxStats(req *runtimeapi.StreamPodSandboxStatsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxStatsResponse]) error {
	list, err := s.listPodStats(stream.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(list, func(c []*runtimeapi.PodSandboxStats) error {
		return stream.Send(&runtimeapi.StreamPodSandboxStatsResponse{PodSandboxStats: c})
	})
}
