package stats

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var machine = fstest.MapFS{
	"proc/meminfo":                {Data: []byte("MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nAnonPages: 50 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n")},
	"proc/vmstat":                 {Data: []byte("pgfault 77\npgmajfault 7\n")},
	"proc/stat":                   {Data: []byte("cpu  100 10 20 9999 999 3 4 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nbtime 1700000000\n")},
	"proc/net/dev":                {Data: []byte("Inter-| Receive | Transmit\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 1 2 0 0 0 0 0 30 1 4 0 0 0 0 0\n")},
	"proc/loadavg":                {Data: []byte("0.1 0.2 0.3 2/345 999\n")},
	"proc/sys/kernel/pid_max":     {Data: []byte("32768\n")},
	"proc/sys/kernel/threads-max": {Data: []byte("30000\n")},
}

func TestReadHost(t *testing.T) {
	now := time.Unix(1700000100, 0)
	got, err := ReadHost(machine, now)
	if err != nil {
		t.Fatal(err)
	}
	want := Host{At: now, Boot: time.Unix(1700000000, 0), CPU: 1420 * time.Millisecond, Total: 1000 << 10, Used: 600 << 10, WorkingSet: 500 << 10, RSS: 50 << 10,
		Swap: 10 << 10, SwapFree: 4 << 10, PageFaults: 77, MajorFaults: 7, Interfaces: []Interface{{"eth0", 10, 2, 30, 4}}, MaxPID: 30000, Processes: 345}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDiskUsage(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := DiskUsage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(big, filepath.Join(dir, "same")); err != nil {
		t.Fatal(err)
	}
	after, err := DiskUsage(dir)
	if err != nil || after != before || before.Bytes < 100_000 || before.Inodes != 2 {
		t.Errorf("before the hard link %+v, after %+v, %v", before, after, err)
	}
}

type fakeRuntime struct{ err error }

func number64(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }

func (f fakeRuntime) ListPodSandboxStats(context.Context, *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	cpu := func(n uint64) *runtimeapi.CpuUsage {
		return &runtimeapi.CpuUsage{Timestamp: 1e9, UsageCoreNanoSeconds: number64(n)}
	}
	memory := func(n uint64) *runtimeapi.MemoryUsage {
		return &runtimeapi.MemoryUsage{Timestamp: 1e9, WorkingSetBytes: number64(n)}
	}
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: []*runtimeapi.PodSandboxStats{{
		Attributes: &runtimeapi.PodSandboxAttributes{Metadata: &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "ns", Uid: "u"}},
		Linux: &runtimeapi.LinuxPodSandboxStats{Cpu: cpu(3e9), Memory: memory(300), Process: &runtimeapi.ProcessUsage{ProcessCount: number64(4)},
			Network: &runtimeapi.NetworkUsage{Timestamp: 1e9, DefaultInterface: &runtimeapi.NetworkInterfaceUsage{Name: "eth0", RxBytes: number64(5)}},
			Containers: []*runtimeapi.ContainerStats{{Attributes: &runtimeapi.ContainerAttributes{Metadata: &runtimeapi.ContainerMetadata{Name: "c"}},
				Cpu: cpu(25e8), Memory: memory(200), WritableLayer: &runtimeapi.FilesystemUsage{UsedBytes: number64(1000), InodesUsed: number64(2)}}}},
	}}}, f.err
}

func newProvider(t *testing.T, runtime Runtime) *Provider {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{"pods/u/volumes/kubernetes.io~empty-dir/disk/f": 50_000, "pods/u/volumes/kubernetes.io~empty-dir/memory/f": 90_000, "logs/ns_p_u/c/0.log": 20_000} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"},
		Spec: v1.PodSpec{Volumes: []v1.Volume{{Name: "disk", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
			{Name: "memory", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "c", State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Unix(1700000050, 0)}}}}}}
	p, err := New(Config{NodeName: "n", Runtime: runtime, Pods: func() []*v1.Pod { return []*v1.Pod{pod} }, DataDir: dir, PodsDir: filepath.Join(dir, "pods"), LogsDir: filepath.Join(dir, "logs"), Root: machine})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSummary(t *testing.T) {
	s, err := newProvider(t, fakeRuntime{}).Summary(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Node.NodeName != "n" || *s.Node.Memory.AvailableBytes != 500<<10 || *s.Node.Rlimit.NumOfRunningProcesses != 345 || *s.Node.Fs.CapacityBytes == 0 || s.Node.Network.Name != "eth0" {
		t.Errorf("node: %+v", s.Node)
	}
	pod := s.Pods[0]
	if pod.PodRef.Name != "p" || *pod.CPU.UsageCoreNanoSeconds != 3e9 || *pod.Network.RxBytes != 5 || *pod.ProcessStats.ProcessCount != 4 || len(pod.VolumeStats) != 2 {
		t.Errorf("pod: %+v", pod)
	}
	c := pod.Containers[0]
	if c.Name != "c" || *c.Rootfs.UsedBytes != 1000 || *c.Logs.UsedBytes < 20_000 || c.StartTime.Unix() != 1700000050 {
		t.Errorf("container: %+v", c)
	}
	// Layers, logs and volumes on disk; what is in memory is no storage.
	if used := *pod.EphemeralStorage.UsedBytes; used < 71_000 || used > 100_000 {
		t.Errorf("ephemeral storage: %d", used)
	}
}

func TestNodeAlone(t *testing.T) {
	node, err := newProvider(t, fakeRuntime{errors.New("is not asked")}).Node(context.Background())
	if err != nil || *node.Memory.WorkingSetBytes != 500<<10 || *node.Fs.Inodes == 0 {
		t.Errorf("%+v %v", node, err)
	}
}

func TestRate(t *testing.T) {
	before := Host{At: time.Unix(100, 0), CPU: time.Second}
	if got := rate(before, Host{At: time.Unix(110, 0), CPU: 6 * time.Second}); got == nil || *got != 5e8 {
		t.Errorf("half a CPU: %v", got)
	}
	if got := rate(Host{}, before); got != nil {
		t.Errorf("without an earlier sample: %d", *got)
	}
}

func TestMetrics(t *testing.T) {
	page := func(p *Provider, path string) string {
		w := httptest.NewRecorder()
		handler := map[string]http.Handler{"": p.Agent(), "resource": p.Resource(), "cadvisor": p.CAdvisor()}[path]
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Body.String()
	}
	p := newProvider(t, fakeRuntime{})
	for path, lines := range map[string][]string{
		"": {"kubelet_running_pods 1", `kubelet_running_containers{container_state="running"} 1`},
		"resource": {
			"# TYPE container_cpu_usage_seconds_total counter",
			`container_cpu_usage_seconds_total{container="c",namespace="ns",pod="p"} 2.5 1000`,
			`container_memory_working_set_bytes{container="c",namespace="ns",pod="p"} 200 1000`,
			`container_start_time_seconds{container="c",namespace="ns",pod="p"} 1.70000005e+09`,
			`pod_memory_working_set_bytes{namespace="ns",pod="p"} 300 1000`,
			"resource_scrape_error 0",
		},
		"cadvisor": {
			`container_cpu_usage_seconds_total{container="",namespace="ns",pod="p"} 3 1000`,
			`container_network_receive_bytes_total{interface="eth0",namespace="ns",pod="p"} 5 1000`,
		},
	} {
		text := "\n" + page(p, path)
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s lacks %q:%s", path, line, text)
			}
		}
	}
	if text := page(newProvider(t, fakeRuntime{errors.New("down")}), "resource"); !strings.Contains(text, "resource_scrape_error 1") {
		t.Errorf("of a runtime that is down: %s", text)
	}
}

func TestPodsAreMeasuredAsOftenAsTheyAreCheap(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 5 * time.Second, time.Second: 20 * time.Second, time.Hour: time.Minute} {
		if got := goodFor(took); got != want {
			t.Errorf("after %v it is good for %v, want %v", took, got, want)
		}
	}
	p := newProvider(t, fakeRuntime{})
	pod := func(uid string) *v1.Pod { return &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}} }
	grow := func(uid string) {
		dir := filepath.Join(p.cfg.PodsDir, uid, "volumes", "kubernetes.io~empty-dir", "v")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has := func(disks map[string]PodDisk, uid string) bool { return disks[uid].Volumes["v"].Bytes >= 1<<20 }
	p.podDisks([]*v1.Pod{pod("old")})
	grow("old")
	grow("new")
	disks := p.podDisks([]*v1.Pod{pod("old"), pod("new")})
	if has(disks, "old") || !has(disks, "new") {
		t.Errorf("at once: %v; want the new one measured, and of the other what is known", disks)
	}
	p.disks["old"] = measured{}
	if disks = p.podDisks([]*v1.Pod{pod("old")}); !has(disks, "old") || len(p.disks) != 1 {
		t.Errorf("later: %v", disks)
	}
}
