package critests

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testStats(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", "dd if=/dev/zero of=/dev/null bs=1M count=100 2>/dev/null; echo ready; "+idle)
	p.waitReady("app")
	one := must(s.rt.ContainerStats(within(t), &runtimeapi.ContainerStatsRequest{ContainerId: id}))(t).Stats
	check := func(what string, st *runtimeapi.ContainerStats) {
		t.Helper()
		if st.GetAttributes().GetId() != id || st.Attributes.Metadata.GetName() != "app" || st.Attributes.Labels["container"] != "app" {
			t.Errorf("%s: attributes %v", what, st.GetAttributes())
		}
		if st.GetCpu().GetTimestamp() <= 0 || st.GetMemory().GetTimestamp() <= 0 || st.GetWritableLayer().GetTimestamp() <= 0 {
			t.Errorf("%s: a time is missing: %v", what, st)
		}
		if s.Kernel && (st.Cpu.UsageCoreNanoSeconds.GetValue() == 0 || st.Memory.WorkingSetBytes.GetValue() == 0) {
			t.Errorf("%s: no use of CPU or memory: %v", what, st)
		}
	}
	check("one", one)
	list := must(s.rt.ListContainerStats(within(t), &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{PodSandboxId: p.id}}))(t).Stats
	if len(list) != 1 {
		t.Fatalf("list %v", list)
	}
	check("list", list[0])

	podStats := must(s.rt.PodSandboxStats(within(t), &runtimeapi.PodSandboxStatsRequest{PodSandboxId: p.id}))(t).Stats
	if podStats.GetAttributes().GetId() != p.id || len(podStats.GetLinux().GetContainers()) != 1 {
		t.Errorf("pod stats %v", podStats)
	}
	if s.Kernel && (podStats.Linux.Process.GetProcessCount().GetValue() == 0 || podStats.Linux.Cpu.UsageCoreNanoSeconds.GetValue() == 0) {
		t.Errorf("pod stats %v", podStats.Linux)
	}
	pods := must(s.rt.ListPodSandboxStats(within(t), &runtimeapi.ListPodSandboxStatsRequest{Filter: &runtimeapi.PodSandboxStatsFilter{LabelSelector: p.config.Labels}}))(t).Stats
	if len(pods) != 1 {
		t.Errorf("pods %v", pods)
	}
	_, err := s.rt.ContainerStats(within(t), &runtimeapi.ContainerStatsRequest{ContainerId: "none"})
	wantCode(t, err, codes.NotFound, "stats of an absent container")
	_, err = s.rt.PodSandboxStats(within(t), &runtimeapi.PodSandboxStatsRequest{PodSandboxId: "none"})
	wantCode(t, err, codes.NotFound, "stats of an absent pod")
	p.stop(id, 0)
	if list := must(s.rt.ListContainerStats(within(t), &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{Id: id}}))(t).Stats; len(list) != 0 {
		t.Errorf("an exited container is listed: %v", list)
	}
}

// testMetrics: whatever is told was announced, with as many labels.
func testMetrics(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	labels := map[string]int{}
	for _, d := range must(s.rt.ListMetricDescriptors(within(t), &runtimeapi.ListMetricDescriptorsRequest{}))(t).Descriptors {
		labels[d.Name] = len(d.LabelKeys)
	}
	found := false
	for _, pod := range must(s.rt.ListPodSandboxMetrics(within(t), &runtimeapi.ListPodSandboxMetricsRequest{}))(t).PodMetrics {
		all := pod.Metrics
		for _, c := range pod.ContainerMetrics {
			found = found || c.ContainerId == id
			all = append(all, c.Metrics...)
		}
		for _, m := range all {
			if n, ok := labels[m.Name]; !ok || n != len(m.LabelValues) {
				t.Errorf("metric %v was not announced so", m)
			}
		}
	}
	if len(labels) > 0 && !found {
		t.Error("no metrics of the container")
	}
}

func testStreamedLists(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	pods, err := s.rt.StreamPodSandboxes(within(t), &runtimeapi.StreamPodSandboxesRequest{Filter: &runtimeapi.PodSandboxFilter{Id: p.id}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		m, err := pods.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(m.PodSandboxes)
	}
	containers, err := s.rt.StreamContainers(within(t), &runtimeapi.StreamContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: id}})
	if err != nil {
		t.Fatal(err)
	}
	m := 0
	for {
		c, err := containers.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		m += len(c.Containers)
	}
	if n != 1 || m != 1 {
		t.Errorf("%d pods, %d containers", n, m)
	}
}

func testUpdateResources(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle, func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 102, MemoryLimitInBytes: 64 << 20}
	})
	update := func(r *runtimeapi.LinuxContainerResources) error {
		_, err := s.rt.UpdateContainerResources(within(t), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: r})
		return err
	}
	if err := update(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 128 << 20}); err != nil {
		t.Fatal(err)
	}
	got := p.container(id).GetResources().GetLinux()
	if got.GetMemoryLimitInBytes() != 128<<20 || got.GetCpuShares() != 102 {
		t.Errorf("told after the update: %v", got)
	}
	if s.Kernel {
		if got := p.sh(id, memoryLimit); got != "134217728" {
			t.Errorf("the cgroup's limit is %s", got)
		}
	}
	_, err := s.rt.UpdateContainerResources(within(t), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: "none", Linux: got})
	wantCode(t, err, codes.NotFound, "update of an absent container")
}

// memoryLimit prints the container's own limit, on cgroup v2 or v1.
const memoryLimit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
