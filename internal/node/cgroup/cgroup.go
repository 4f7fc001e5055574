// Package cgroup keeps the tree of cgroups above the containers: one for all
// pods, one for each lower QoS class, one for each pod. The runtime makes those
// of the containers below. It writes plain files, for cgroup v1 and v2 alike.
//
//	BASE                  all pods, like /proa-1a2b3c4d/kubepods
//	├── podUID            Guaranteed
//	├── burstable/podUID
//	└── besteffort/podUID
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// wanted are the controllers that pods are accounted and limited by.
var wanted = []string{"cpu", "memory", "pids"}

// enabled are switched on in every inner cgroup of v2, for the containers below.
var enabled = []string{"cpu", "memory", "pids", "cpuset", "io", "hugetlb"}

// Tree is the part of the hierarchy that holds pods.
type Tree struct {
	root string // mount point, /sys/fs/cgroup
	base string // of all pods, slash first
	v2   bool
	// dirs are the hierarchies by controller (v1), or the one (v2, "").
	dirs map[string]string
	pids int64 // at most in a pod; 0 = no limit
}

// LimitPIDs says how many processes and threads a pod may have; 0 = no limit. To
// be called before any Ensure.
func (t *Tree) LimitPIDs(most int64) { t.pids = most }

// Open finds the hierarchies below root (normally /sys/fs/cgroup) and makes the
// inner cgroups of base.
func Open(root, base string) (*Tree, error) {
	t := &Tree{root: root, base: path.Clean("/" + base), dirs: map[string]string{}}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		t.v2 = true
		t.dirs[""] = root
	} else {
		for _, c := range wanted {
			if dir, err := filepath.EvalSymlinks(filepath.Join(root, c)); err == nil {
				t.dirs[c] = dir
			}
		}
		if t.dirs["cpu"] == "" || t.dirs["memory"] == "" {
			return nil, fmt.Errorf("cgroups: no cpu and memory controllers below %s", root)
		}
	}
	for _, dir := range []string{t.base, t.base + "/burstable", t.base + "/besteffort"} {
		if err := t.mkdir(dir); err != nil {
			return nil, err
		}
		if err := t.delegate(dir); err != nil {
			return nil, err
		}
	}
	// What asks for nothing gets what the others leave.
	return t, t.write("cpu", t.base+"/besteffort", cpuShares(t.v2, 2))
}

// Features tells which version this is, and whether it limits swap.
func (t *Tree) Features() (v2, swap bool) {
	file := filepath.Join(t.dirs["memory"], "memory.memsw.limit_in_bytes")
	if t.v2 {
		file = filepath.Join(t.root, t.base, "memory.swap.max")
	}
	_, err := os.Stat(file)
	return t.v2, err == nil
}

// Parent is the cgroup of a pod, as the runtime wants it: its containers go below.
func (t *Tree) Parent(pod *v1.Pod) string {
	dir := "pod" + string(pod.UID)
	switch podlife.QoS(pod) {
	case v1.PodQOSBurstable:
		return t.base + "/burstable/" + dir
	case v1.PodQOSBestEffort:
		return t.base + "/besteffort/" + dir
	}
	return t.base + "/" + dir
}

// Ensure makes the pod's cgroup and sets its limits; a zero value is no limit.
func (t *Tree) Ensure(pod *v1.Pod, r *runtimeapi.LinuxContainerResources) error {
	dir := t.Parent(pod)
	if err := t.mkdir(dir); err != nil {
		return err
	}
	if err := t.delegate(dir); err != nil {
		return err
	}
	if err := t.set(dir, r); err != nil {
		return err
	}
	if t.pids == 0 {
		return nil
	}
	return t.write("pids", dir, setting{"pids.max", strconv.FormatInt(t.pids, 10)})
}

func (t *Tree) set(dir string, r *runtimeapi.LinuxContainerResources) error {
	err := t.write("cpu", dir, cpuShares(t.v2, r.CpuShares))
	err = errors.Join(err, t.write("cpu", dir, cpuQuota(t.v2, r.CpuQuota, r.CpuPeriod)))
	return errors.Join(err, t.write("memory", dir, memoryLimit(t.v2, r.MemoryLimitInBytes)))
}

// SetBurstable weighs all Burstable pods together by the sum of their requests.
func (t *Tree) SetBurstable(shares int64) error {
	return t.write("cpu", t.base+"/burstable", cpuShares(t.v2, shares))
}

// MemoryUsage of all processes of the pod, in bytes.
func (t *Tree) MemoryUsage(pod *v1.Pod) (uint64, error) {
	hierarchy, file := t.dirs["memory"], "memory.usage_in_bytes"
	if t.v2 {
		hierarchy, file = t.dirs[""], "memory.current"
	}
	b, err := os.ReadFile(filepath.Join(hierarchy, t.Parent(pod), file))
	if err != nil {
		return 0, fmt.Errorf("memory usage of pod: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// Remove deletes the pod's cgroup with all (empty ones) below it, in every
// hierarchy that there is; an absent one is no error.
func (t *Tree) Remove(uid types.UID) error {
	var errs []error
	for _, hierarchy := range t.all() {
		for _, class := range []string{"", "burstable", "besteffort"} {
			errs = append(errs, removeTree(filepath.Join(hierarchy, t.base, class, "pod"+string(uid))))
		}
	}
	return errors.Join(errs...)
}

// Present lists the pods that have a cgroup.
func (t *Tree) Present() ([]types.UID, error) {
	var out []types.UID
	dir := t.dirs["memory"]
	if t.v2 {
		dir = t.dirs[""]
	}
	for _, class := range []string{"", "burstable", "besteffort"} {
		list, err := os.ReadDir(filepath.Join(dir, t.base, class))
		if err != nil {
			return nil, fmt.Errorf("list pods' cgroups: %w", err)
		}
		for _, e := range list {
			if uid, ok := strings.CutPrefix(e.Name(), "pod"); ok && e.IsDir() {
				out = append(out, types.UID(uid))
			}
		}
	}
	return out, nil
}

// all hierarchies: the runtime makes containers' cgroups in those too that we
// have no use for.
func (t *Tree) all() []string {
	if t.v2 {
		return []string{t.root}
	}
	list, err := os.ReadDir(t.root)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		if e.IsDir() { // links (cpu → cpu,cpuacct) name hierarchies a second time
			out = append(out, filepath.Join(t.root, e.Name()))
		}
	}
	return out
}

// removeTree removes leaves first; in cgroupfs only directories can be removed.
func removeTree(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, e := range list {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

func (t *Tree) mkdir(dir string) error {
	for _, hierarchy := range t.dirs {
		if err := os.MkdirAll(filepath.Join(hierarchy, dir), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

// delegate (v2) switches the controllers on for what is below dir, from the root
// down. One that the kernel or the parent does not have is left out, but for
// those that limits need.
func (t *Tree) delegate(dir string) error {
	if !t.v2 {
		return nil
	}
	chain := []string{t.root}
	for _, part := range strings.Split(strings.Trim(dir, "/"), "/") {
		chain = append(chain, filepath.Join(chain[len(chain)-1], part))
	}
	for _, d := range chain {
		for i, c := range enabled {
			err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0o644)
			if err != nil && i < len(wanted) {
				return fmt.Errorf("enable cgroup controller %s: %w", c, err)
			}
		}
	}
	return nil
}

// setting is a file of a controller and its content.
type setting struct{ file, value string }

func (t *Tree) write(controller, dir string, s setting) error {
	hierarchy := t.dirs[controller]
	if t.v2 {
		hierarchy = t.dirs[""]
	}
	file := filepath.Join(hierarchy, dir, s.file)
	if err := os.WriteFile(file, []byte(s.value), 0o644); err != nil {
		return fmt.Errorf("set %s to %s: %w", file, s.value, err)
	}
	return nil
}

func cpuShares(v2 bool, shares int64) setting {
	shares = min(max(shares, 2), 262144)
	if v2 {
		// The two scales, 2…262144 and 1…10000, laid over one another, as the
		// OCI runtimes do it.
		return setting{"cpu.weight", strconv.FormatInt(1+(shares-2)*9999/262142, 10)}
	}
	return setting{"cpu.shares", strconv.FormatInt(shares, 10)}
}

func cpuQuota(v2 bool, quota, period int64) setting {
	if period == 0 {
		period = 100_000
	}
	switch {
	case v2 && quota <= 0:
		return setting{"cpu.max", fmt.Sprintf("max %d", period)}
	case v2:
		return setting{"cpu.max", fmt.Sprintf("%d %d", quota, period)}
	case quota <= 0:
		return setting{"cpu.cfs_quota_us", "-1"}
	}
	return setting{"cpu.cfs_quota_us", strconv.FormatInt(quota, 10)}
}

func memoryLimit(v2 bool, bytes int64) setting {
	switch {
	case v2 && bytes <= 0:
		return setting{"memory.max", "max"}
	case v2:
		return setting{"memory.max", strconv.FormatInt(bytes, 10)}
	case bytes <= 0:
		return setting{"memory.limit_in_bytes", "-1"}
	}
	return setting{"memory.limit_in_bytes", strconv.FormatInt(bytes, 10)}
}
