package cri

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// metric is one figure told of each container or pod, under the name by which
// dashboards know it.
type metric struct {
	name, help string
	kind       runtimeapi.MetricType
	container  func(*runtimeapi.ContainerStats) uint64
	pod        func(*runtimeapi.LinuxPodSandboxStats) uint64
}

const (
	counter = runtimeapi.MetricType_COUNTER
	gauge   = runtimeapi.MetricType_GAUGE
)

func metrics() []metric {
	return []metric{
		{name: "container_cpu_usage_seconds_total", help: "CPU time used, in seconds.", kind: counter,
			container: func(s *runtimeapi.ContainerStats) uint64 { return s.Cpu.GetUsageCoreNanoSeconds().GetValue() / 1e9 }},
		{name: "container_memory_usage_bytes", help: "Memory in use, caches included.", kind: gauge,
			container: func(s *runtimeapi.ContainerStats) uint64 { return s.Memory.GetUsageBytes().GetValue() }},
		{name: "container_memory_working_set_bytes", help: "Memory in use that can't be dropped at once.", kind: gauge,
			container: func(s *runtimeapi.ContainerStats) uint64 { return s.Memory.GetWorkingSetBytes().GetValue() }},
		{name: "container_memory_rss", help: "Anonymous memory.", kind: gauge,
			container: func(s *runtimeapi.ContainerStats) uint64 { return s.Memory.GetRssBytes().GetValue() }},
		{name: "container_fs_usage_bytes", help: "Bytes in the writable layer.", kind: gauge,
			container: func(s *runtimeapi.ContainerStats) uint64 { return s.WritableLayer.GetUsedBytes().GetValue() }},
		{name: "container_processes", help: "Processes of the pod.", kind: gauge,
			pod: func(s *runtimeapi.LinuxPodSandboxStats) uint64 { return s.Process.GetProcessCount().GetValue() }},
		{name: "container_network_receive_bytes_total", help: "Bytes received on the pod's first link.", kind: counter,
			pod: func(s *runtimeapi.LinuxPodSandboxStats) uint64 {
				return s.Network.GetDefaultInterface().GetRxBytes().GetValue()
			}},
		{name: "container_network_transmit_bytes_total", help: "Bytes sent on the pod's first link.", kind: counter,
			pod: func(s *runtimeapi.LinuxPodSandboxStats) uint64 {
				return s.Network.GetDefaultInterface().GetTxBytes().GetValue()
			}},
	}
}

// ListMetricDescriptors names the figures of ListPodSandboxMetrics.
func (s *Service) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	resp := &runtimeapi.ListMetricDescriptorsResponse{}
	for _, m := range metrics() {
		resp.Descriptors = append(resp.Descriptors, &runtimeapi.MetricDescriptor{
			Name: m.name, Help: m.help, LabelKeys: []string{"container", "id", "namespace", "pod"},
		})
	}
	return resp, nil
}

func (s *Service) podMetrics(ctx context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	stats, err := s.listPodStats(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := []*runtimeapi.PodSandboxMetrics{}
	for _, p := range stats {
		meta := p.Attributes.Metadata
		told := &runtimeapi.PodSandboxMetrics{PodSandboxId: p.Attributes.Id}
		for _, m := range metrics() {
			if m.pod != nil {
				told.Metrics = append(told.Metrics, &runtimeapi.Metric{
					Name: m.name, MetricType: m.kind, Value: value(m.pod(p.Linux)),
					LabelValues: []string{"POD", p.Attributes.Id, meta.GetNamespace(), meta.GetName()},
				})
			}
		}
		for _, c := range p.Linux.Containers {
			cm := &runtimeapi.ContainerMetrics{ContainerId: c.Attributes.Id}
			for _, m := range metrics() {
				if m.container != nil {
					cm.Metrics = append(cm.Metrics, &runtimeapi.Metric{
						Name: m.name, MetricType: m.kind, Value: value(m.container(c)),
						LabelValues: []string{c.Attributes.Metadata.GetName(), c.Attributes.Id, meta.GetNamespace(), meta.GetName()},
					})
				}
			}
			told.ContainerMetrics = append(told.ContainerMetrics, cm)
		}
		out = append(out, told)
	}
	return out, nil
}

// ListPodSandboxMetrics returns the figures of all ready pods.
func (s *Service) ListPodSandboxMetrics(ctx context.Context, _ *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	list, err := s.podMetrics(ctx)
	return &runtimeapi.ListPodSandboxMetricsResponse{PodMetrics: list}, err
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics in pieces.
func (s *Service) StreamPodSandboxMetrics(_ *runtimeapi.StreamPodSandboxMetricsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxMetricsResponse]) error {
	list, err := s.podMetrics(stream.Context())
	if err != nil {
		return err
	}
	return sendChunks(list, func(c []*runtimeapi.PodSandboxMetrics) error {
		return stream.Send(&runtimeapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: c})
	})
}
