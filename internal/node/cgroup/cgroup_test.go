package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The hierarchies here are plain folders: what is tested is which files get what.

func TestV1(t *testing.T) {
	root := t.TempDir()
	for _, c := range []string{"cpu,cpuacct", "memory", "pids", "devices"} {
		mkdir(t, root, c)
	}
	if err := os.Symlink("cpu,cpuacct", filepath.Join(root, "cpu")); err != nil {
		t.Fatal(err)
	}
	tree := open(t, root)
	tree.LimitPIDs(77)
	pod := burstable()
	if err := tree.Ensure(pod, limits); err != nil {
		t.Fatal(err)
	}
	dir := "/proa-x/kubepods/burstable/podu1"
	if got := tree.Parent(pod); got != dir {
		t.Errorf("parent %s", got)
	}
	check(t, root, map[string]string{
		"cpu" + dir + "/cpu.shares":                 "512",
		"cpu" + dir + "/cpu.cfs_quota_us":           "50000",
		"memory" + dir + "/memory.limit_in_bytes":   "1000",
		"pids" + dir + "/pids.max":                  "77",
		"cpu/proa-x/kubepods/besteffort/cpu.shares": "2",
	})
	if got, err := tree.Present(); err != nil || len(got) != 1 || got[0] != "u1" {
		t.Errorf("present: %v %v", got, err)
	}
	mkdir(t, root, "devices"+dir+"/c1") // by the runtime
	clean(t, root)
	if err := tree.Remove("u1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "devices", dir)); !os.IsNotExist(err) {
		t.Errorf("left in devices: %v", err)
	}
	if err := tree.Remove("u1"); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
}

func TestV2(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), []byte("cpu memory pids"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := open(t, root)
	if err := tree.Ensure(burstable(), limits); err != nil {
		t.Fatal(err)
	}
	check(t, root, map[string]string{
		"proa-x/kubepods/burstable/podu1/cpu.weight":             "20",
		"proa-x/kubepods/burstable/podu1/cpu.max":                "50000 100000",
		"proa-x/kubepods/burstable/podu1/memory.max":             "1000",
		"proa-x/kubepods/burstable/podu1/cgroup.subtree_control": "+hugetlb", // the last one written
	})
}

func TestNoLimits(t *testing.T) {
	for want, got := range map[string]setting{
		"max 100000": cpuQuota(true, 0, 0), "-1": cpuQuota(false, -1, 0), "max": memoryLimit(true, 0),
	} {
		if got.value != want {
			t.Errorf("%s: got %s, want %s", got.file, got.value, want)
		}
	}
	if got := cpuShares(true, 262144).value; got != "10000" {
		t.Errorf("most shares weigh %s", got)
	}
}

var limits = &runtimeapi.LinuxContainerResources{CpuShares: 512, CpuQuota: 50_000, CpuPeriod: 100_000, MemoryLimitInBytes: 1000}

func burstable() *v1.Pod {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}}}}}}
	pod.UID = "u1"
	return pod
}

func open(t *testing.T, root string) *Tree {
	t.Helper()
	tree, err := Open(root, "proa-x/kubepods")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func mkdir(t *testing.T, root, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
		t.Fatal(err)
	}
}

// clean removes the files, which in cgroupfs go with their directory.
func clean(t *testing.T, root string) {
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && strings.Contains(path, "podu1") {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, root string, want map[string]string) {
	t.Helper()
	for file, content := range want {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil || string(b) != content {
			t.Errorf("%s: got %q %v, want %q", file, b, err, content)
		}
	}
}
