package cri

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/cgroup"
)

// metric is one figure told of each container or pod, under the name by which
// dashboards know it. One with labels of its own has a sample for each value.
type metric struct {
	name, help string
	kind       runtimeapi.MetricType
	labels     []string
	read       func(*reading) []sample
}

// sample is one value, with values of the metric's own labels.
type sample struct {
	value  uint64
	labels []string
}

// reading is what the samples of one container or pod are taken from.
type reading struct {
	stats     keeper.Stats
	details   cgroup.Details
	resources *runtimeapi.LinuxContainerResources
	started   time.Time
	disk      Usage
	volume    unix.Statfs_t // of the file system with the writable layers
	openFiles uint64        // soft limit of the first process
	links     []link
}

// commonLabels are those that every sample has.
var commonLabels = []string{"container", "id", "image", "name", "namespace", "pod"}

// ListMetricDescriptors names the figures of ListPodSandboxMetrics.
func (s *Service) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	resp := &runtimeapi.ListMetricDescriptorsResponse{}
	for _, m := range slices.Concat(containerMetrics(), podMetrics()) {
		resp.Descriptors = append(resp.Descriptors, &runtimeapi.MetricDescriptor{
			Name: m.name, Help: m.help, LabelKeys: slices.Concat(commonLabels, m.labels),
		})
	}
	return resp, nil
}

// tell makes the metrics of one reading.
func tell(from []metric, r *reading, labels []string, at time.Time) []*runtimeapi.Metric {
	var out []*runtimeapi.Metric
	for _, m := range from {
		for _, v := range m.read(r) {
			out = append(out, &runtimeapi.Metric{
				Name: m.name, MetricType: m.kind, Timestamp: at.UnixNano(), Value: value(v.value),
				LabelValues: slices.Concat(labels, v.labels),
			})
		}
	}
	return out
}

// listMetrics reads everything of all ready pods.
func (s *Service) listMetrics(ctx context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	pods := slices.DeleteFunc(slices.Collect(maps.Values(s.sandboxes)), func(sb *sandbox) bool { return !sb.ready() })
	s.mu.Unlock()
	containers := s.selectContainers(false, func(*container) bool { return true })
	ids := make([]string, 0, len(containers))
	for _, c := range containers {
		ids = append(ids, c.id)
	}
	readings, err := s.readStats(ctx, ids)
	if err != nil {
		return nil, err
	}
	var volume unix.Statfs_t
	if err := unix.Statfs(s.cfg.LayersDir, &volume); err != nil {
		return nil, fmt.Errorf("file system of the containers: %w", err)
	}
	now := time.Now()
	out := make([]*runtimeapi.PodSandboxMetrics, 0, len(pods))
	for _, sb := range pods {
		told := &runtimeapi.PodSandboxMetrics{PodSandboxId: sb.id, Metrics: s.metricsOfPod(sb, now)}
		for _, c := range containers {
			st, ok := readings[c.id]
			if c.sandbox != sb || !ok {
				continue
			}
			r := &reading{stats: st, details: hierarchies.Details(c.record.Cgroup), disk: s.diskUsage(ctx, c).usage, volume: volume}
			told.ContainerMetrics = append(told.ContainerMetrics, s.metricsOfContainer(c, r, now))
		}
		out = append(out, told)
	}
	return out, nil
}

func (s *Service) metricsOfPod(sb *sandbox, now time.Time) []*runtimeapi.Metric {
	s.mu.Lock()
	pid := sb.status.PID
	s.mu.Unlock()
	if pid == 0 || hostNetwork(sb.config()) {
		return nil
	}
	m := sb.config().Metadata
	labels := []string{"POD", sb.status.Cgroup, "", sb.id, m.GetNamespace(), m.GetName()}
	return tell(podMetrics(), &reading{links: readLinks(pid)}, labels, now)
}

func (s *Service) metricsOfContainer(c *container, r *reading, now time.Time) *runtimeapi.ContainerMetrics {
	s.mu.Lock()
	record, st := c.record, c.status
	s.mu.Unlock()
	r.resources, r.started = record.Config.GetLinux().GetResources(), st.StartedAt
	var limit unix.Rlimit
	if st.PID > 0 && unix.Prlimit(st.PID, unix.RLIMIT_NOFILE, nil, &limit) == nil {
		r.openFiles = limit.Cur
	}
	m := c.sandbox.config().Metadata
	labels := []string{record.Config.Metadata.GetName(), record.Cgroup, record.Config.GetImage().GetUserSpecifiedImage(), c.id, m.GetNamespace(), m.GetName()}
	return &runtimeapi.ContainerMetrics{ContainerId: c.id, Metrics: tell(containerMetrics(), r, labels, now)}
}

// ListPodSandboxMetrics returns the figures of all ready pods.
func (s *Service) ListPodSandboxMetrics(ctx context.Context, _ *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	list, err := s.listMetrics(ctx)
	return &runtimeapi.ListPodSandboxMetricsResponse{PodMetrics: list}, err
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics in pieces.
func (s *Service) StreamPodSandboxMetrics(_ *runtimeapi.StreamPodSandboxMetricsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxMetricsResponse]) error {
	list, err := s.listMetrics(stream.Context())
	if err != nil {
		return err
	}
	return sendChunks(list, func(c []*runtimeapi.PodSandboxMetrics) error {
		return stream.Send(&runtimeapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: c})
	})
}
