package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// files makes a folder as the kernel would show it.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDetails(t *testing.T) {
	v2 := files(t, map[string]string{
		"a/memory.stat": "anon 1\nkernel 77\nfile_mapped 88\n", "a/memory.peak": "99\n", "a/memory.events": "low 0\nmax 3\noom_kill 1\n",
		"a/io.stat":             "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:0 rbytes=5\n",
		"a/hugetlb.2MB.current": "4194304\n", "a/hugetlb.2MB.rsvd.current": "7\n",
		"a/io.pressure":  "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
		"a/pids.current": "5\n", "a/pids.max": "max\n", "a/cgroup.procs": "",
	})
	v1 := files(t, map[string]string{
		"memory/a/memory.stat": "mapped_file 1\ntotal_mapped_file 88\n", "memory/a/memory.kmem.usage_in_bytes": "77\n",
		"memory/a/memory.max_usage_in_bytes": "99\n", "memory/a/memory.failcnt": "3\n",
		"blkio/a/blkio.throttle.io_service_bytes_recursive": "8:16 Read 1\n8:16 Write 2\n8:16 Sync 9\n8:16 Total 3\n7:0 Read 5\n7:0 Write 0\nTotal 8\n",
		"blkio/a/blkio.throttle.io_serviced_recursive":      "8:16 Read 3\n8:16 Write 4\nTotal 7\n",
		"hugetlb/a/hugetlb.2MB.usage_in_bytes":              "4194304\n", "hugetlb/a/hugetlb.2MB.max_usage_in_bytes": "8388608\n",
		"pids/a/pids.current": "5\n", "pids/a/pids.max": "100\n", "pids/a/cgroup.procs": "", "memory/a/cgroup.procs": "",
	})
	devices := []DeviceIO{{Major: 7, ReadBytes: 5}, {Major: 8, Minor: 16, ReadBytes: 1, WrittenBytes: 2, Reads: 3, Writes: 4}}
	want := Details{Kernel: 77, Mapped: 88, MaxUsage: 99, LimitFailures: 3, Devices: devices, Threads: 5}
	for name, c := range map[string]struct {
		h      Hierarchies
		change func(*Details)
	}{
		"v2": {Hierarchies{Unified: v2}, func(d *Details) {
			d.HugePages = []HugeUsage{{Size: "2MB", Usage: 4 << 20}}
			d.IOPressure = &keeper.Pressure{Some: keeper.PressureLine{Avg10: 1.5, Total: 12}, Full: keeper.PressureLine{Total: 3}}
		}},
		"v1": {Hierarchies{V1: map[string]string{"memory": v1 + "/memory", "blkio": v1 + "/blkio", "hugetlb": v1 + "/hugetlb", "pids": v1 + "/pids"}}, func(d *Details) {
			d.HugePages, d.ThreadLimit = []HugeUsage{{Size: "2MB", Usage: 4 << 20, Max: 8 << 20}}, 100
		}},
		"absent": {Hierarchies{Unified: t.TempDir()}, func(d *Details) { *d = Details{} }},
	} {
		t.Run(name, func(t *testing.T) {
			want := want
			c.change(&want)
			if diff := cmp.Diff(want, c.h.Details("/a")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if n, _ := descriptors("/proc/self/fd"); n < 2 {
		t.Errorf("%d descriptors, of which two are certain", n)
	}
}
