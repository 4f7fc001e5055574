package register

import (
	"errors"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"pgregory.net/rapid"

	"github.com/proa-project/proa/internal/node/evict"
)

var machineFiles = fstest.MapFS{
	"proc/meminfo":                   {Data: []byte("MemTotal:        4000000 kB\nMemFree: 1 kB\nSwapTotal:  1000 kB\nHugePages_Total:  3\n")},
	"etc/machine-id":                 {Data: []byte("abc\n")},
	"proc/sys/kernel/random/boot_id": {Data: []byte("boot\n")},
	"proc/sys/kernel/osrelease":      {Data: []byte("6.18.0\n")},
	"usr/lib/os-release":             {Data: []byte("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")},
	"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": {Data: []byte("3\n")},
}

func TestReadMachine(t *testing.T) {
	m, err := ReadMachine(machineFiles, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if m.CPUs < 1 || m.DiskBytes <= 0 {
		t.Errorf("CPUs %d, disk %d", m.CPUs, m.DiskBytes)
	}
	m.CPUs, m.DiskBytes = 0, 0
	want := Machine{MemoryBytes: 4000000 << 10, SwapBytes: 1000 << 10, HugePages: map[int64]int64{2 << 20: 3}, MachineID: "abc", SystemUUID: "abc",
		BootID: "boot", Kernel: "6.18.0", OSImage: "Debian GNU/Linux 12 (bookworm)", OS: m.OS, Arch: m.Arch}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestNested(t *testing.T) {
	for line, want := range map[string]bool{"": false, "         0          0 4294967295": false, "0 1000 1": true, "0 100000 65536": true} {
		if got := nested(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// reserve leaves upstream's default free: 100 MiB of memory, a tenth of the disk.
func reserve() Reserve {
	return Reserve{EvictionMemory: evict.Amount{Quantity: resource.MustParse("100Mi")}, EvictionDisk: evict.Amount{Fraction: 0.10}}
}

func TestAllocatable(t *testing.T) {
	capacity := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1000Mi"),
		v1.ResourceEphemeralStorage: resource.MustParse("100Gi"), "hugepages-2Mi": resource.MustParse("200Mi"), v1.ResourcePods: resource.MustParse("110"),
	}
	reserve := reserve()
	reserve.Resources = v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("50Mi")}
	got := map[v1.ResourceName]string{}
	for name, amount := range allocatableOf(capacity, reserve) {
		got[name] = amount.String()
	}
	want := map[v1.ResourceName]string{v1.ResourceCPU: "1500m", v1.ResourceMemory: "650Mi", v1.ResourceEphemeralStorage: "90Gi", "hugepages-2Mi": "200Mi", v1.ResourcePods: "110"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAllocatableIsWithinCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, 1<<50)
		capacity := v1.ResourceList{v1.ResourceMemory: *resource.NewQuantity(amount.Draw(t, "memory"), resource.BinarySI), v1.ResourceEphemeralStorage: *resource.NewQuantity(amount.Draw(t, "disk"), resource.BinarySI)}
		reserve := Reserve{Resources: v1.ResourceList{v1.ResourceMemory: *resource.NewQuantity(amount.Draw(t, "reserved"), resource.BinarySI)}, EvictionMemory: evict.Amount{Quantity: *resource.NewQuantity(amount.Draw(t, "eviction"), resource.BinarySI)}, EvictionDisk: evict.Amount{Fraction: rapid.Float64Range(0, 1).Draw(t, "fraction")}}
		for name, got := range allocatableOf(capacity, reserve) {
			whole := capacity[name]
			if got.Sign() < 0 || got.Cmp(whole) > 0 {
				t.Fatalf("%s: %s of %s", name, got.String(), whole.String())
			}
		}
	})
}

func TestReadyCondition(t *testing.T) {
	for name, tc := range map[string]struct {
		problems map[string]error
		want     v1.NodeCondition
	}{
		"fine": {nil, v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}},
		"one":  {map[string]error{"b": errors.New("x")}, v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionFalse, Reason: "KubeletNotReady", Message: "x"}},
		"two":  {map[string]error{"b": errors.New("x"), "a": errors.New("y")}, v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionFalse, Reason: "KubeletNotReady", Message: "[y, x]"}},
	} {
		if diff := cmp.Diff(tc.want, readyCondition(State{Problems: tc.problems})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRuntimeHealth(t *testing.T) {
	network := &runtimeapi.RuntimeCondition{Type: runtimeapi.NetworkReady, Reason: "NetworkPluginNotReady", Message: "not yet"}
	ready := &runtimeapi.RuntimeCondition{Type: runtimeapi.RuntimeReady, Status: true}
	err := runtimeHealth(&runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{ready, network}}, nil)
	want := "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:not yet"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	network.Status = true
	if err := runtimeHealth(&runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{ready, network}}, nil); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := runtimeHealth(nil, errors.New("no socket")); err == nil || err.Error() != "container runtime is down" {
		t.Errorf("down: %v", err)
	}
}

func TestMergeLeavesTheRestToItsOwners(t *testing.T) {
	earlier, now := time.Unix(1000, 0), time.Unix(2000, 0)
	existing := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"mine": "1", "kubernetes.io/hostname": "old"}},
		Spec:       v1.NodeSpec{Unschedulable: true, PodCIDR: "10.0.0.0/24", PodCIDRs: []string{"10.0.0.0/24"}, Taints: []v1.Taint{{Key: "t"}}},
		Status: v1.NodeStatus{
			Capacity: v1.ResourceList{"example.com/gpu": resource.MustParse("1"), "hugepages-1Gi": resource.MustParse("1Gi")},
			Conditions: []v1.NodeCondition{
				{Type: "Theirs", Status: v1.ConditionTrue},
				{Type: v1.NodeReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(earlier)},
				{Type: v1.NodeDiskPressure, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(earlier)},
			},
		},
	}
	desired := Desired(Config{Name: "n", Hostname: "new", MaxPods: 5, PodCIDRs: []string{"10.9.0.0/24"}}, Machine{CPUs: 2}, State{})
	got := Merge(existing, desired, now)
	if got.Labels["mine"] != "1" || got.Labels["kubernetes.io/hostname"] != "new" || !got.Spec.Unschedulable || got.Spec.PodCIDR != "10.0.0.0/24" || len(got.Spec.Taints) != 1 {
		t.Errorf("metadata and spec: %v %+v", got.Labels, got.Spec)
	}
	if _, kept := got.Status.Capacity["example.com/gpu"]; !kept {
		t.Error("a device plugin's resource is gone")
	}
	if _, kept := got.Status.Capacity["hugepages-1Gi"]; kept {
		t.Error("huge pages that are gone are still there")
	}
	transitions := map[v1.NodeConditionType]time.Time{}
	for _, c := range got.Status.Conditions {
		transitions[c.Type] = c.LastTransitionTime.Time
	}
	if !transitions[v1.NodeReady].Equal(earlier) || !transitions[v1.NodeDiskPressure].Equal(now) || !transitions[v1.NodePIDPressure].Equal(now) {
		t.Errorf("transitions: %v", transitions)
	}
	if _, kept := transitions["Theirs"]; !kept {
		t.Error("another's condition is gone")
	}
	if again := Merge(got, desired, now.Add(time.Hour)); !sameStatus(&got.Status, &again.Status) {
		t.Error("a heartbeat counts as a change")
	}
}

func TestReportedImages(t *testing.T) {
	got := reportedImages([]*runtimeapi.Image{
		{Size: 5, RepoTags: []string{"small:1"}}, {Size: 9, RepoTags: []string{"big:1"}, RepoDigests: []string{"big@sha256:0"}}, {Size: 99},
	})
	want := []v1.ContainerImage{{Names: []string{"big@sha256:0", "big:1"}, SizeBytes: 9}, {Names: []string{"small:1"}, SizeBytes: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTransitions(t *testing.T) {
	node := func(holding ...v1.NodeConditionType) *v1.Node {
		n := &v1.Node{}
		for _, kind := range holding {
			n.Status.Conditions = append(n.Status.Conditions, v1.NodeCondition{Type: kind, Status: v1.ConditionTrue})
		}
		return n
	}
	healthy := []string{"NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"}
	for name, tc := range map[string]struct {
		before, now *v1.Node
		want        []string
	}{
		"first, still starting": {nil, node(), healthy},
		"first, at once ready":  {nil, node(v1.NodeReady), append(slices.Clone(healthy), "NodeReady")},
		"nothing turned":        {node(v1.NodeReady), node(v1.NodeReady), nil},
		"gets ready":            {node(), node(v1.NodeReady), []string{"NodeReady"}},
		"short of disk":         {node(v1.NodeReady), node(v1.NodeReady, v1.NodeDiskPressure), []string{"NodeHasDiskPressure"}},
		"goes down":             {node(v1.NodeReady, v1.NodeMemoryPressure), node(), []string{"NodeHasSufficientMemory", "NodeNotReady"}},
	} {
		if got := transitions(tc.before, tc.now); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
