package cri

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/apparmor"
	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
)

// probeHost finds out what this machine can do.
func probeHost() (spec.Host, error) {
	var h spec.Host
	var fsinfo unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fsinfo); err != nil {
		return h, fmt.Errorf("cgroups: %w", err)
	}
	h.CgroupV2 = fsinfo.Type == unix.CGROUP2_SUPER_MAGIC
	caps, err := cap.Current()
	if err != nil {
		return h, fmt.Errorf("capabilities: %w", err)
	}
	h.Capabilities = caps
	if h.Hostname, err = os.Hostname(); err != nil {
		return h, err
	}
	h.Seccomp = exists("/proc/sys/kernel/seccomp")
	h.AppArmor = apparmor.HostSupports()
	h.SELinux = exists("/sys/fs/selinux/enforce")
	if h.CgroupV2 {
		h.MemorySwap = exists("/proc/swaps")
		h.HugeTLB = slices.Contains(strings.Fields(readString("/sys/fs/cgroup/cgroup.controllers")), "hugetlb")
	} else {
		h.MemorySwap = exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
		h.HugeTLB = exists("/sys/fs/cgroup/hugetlb")
	}
	h.MinOOMScoreAdj = -1000
	if !slices.Contains(caps, "CAP_SYS_RESOURCE") {
		// Without the capability a score can only go up from where it is.
		if h.MinOOMScoreAdj, err = strconv.Atoi(readString("/proc/self/oom_score_adj")); err != nil {
			return h, fmt.Errorf("OOM score: %w", err)
		}
	}
	return h, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readString(path string) string {
	b, _ := os.ReadFile(path) // "" says the same as an absent file
	return strings.TrimSpace(string(b))
}

// hostDevices are all devices below /dev, less what belongs to one mount of it.
func hostDevices() ([]specs.LinuxDevice, error) { return devicesAt("/dev") }

// devicesAt is the device at a path, or all devices below a folder.
func devicesAt(path string) ([]specs.LinuxDevice, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	var out []specs.LinuxDevice
	err = filepath.WalkDir(resolved, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			if at == resolved {
				return err
			}
			return nil // gone while we walked
		}
		if e.IsDir() {
			switch e.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				if at != resolved {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if e.Type()&fs.ModeDevice == 0 || e.Name() == "console" && at != resolved {
			return nil
		}
		d, err := oci.DeviceFromPath(at)
		if errors.Is(err, oci.ErrNotADevice) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		d.Path = path + strings.TrimPrefix(at, resolved) // as asked for, not as resolved
		out = append(out, *d)
		return nil
	})
	if err == nil && len(out) == 0 && resolved != "/dev" {
		return nil, fmt.Errorf("no device at %s", path)
	}
	return out, err
}

// mountTable answers which mount a path is on, for propagation checks.
type mountTable struct{ points map[string]string } // mount point → optional fields

// readMounts parses /proc/self/mountinfo, proc_pid_mountinfo(5).
func readMounts() (mountTable, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return mountTable{}, err
	}
	t := mountTable{points: map[string]string{}}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 7 {
			continue
		}
		optional, _, _ := strings.Cut(strings.Join(fields[6:], " "), "-")
		t.points[unescape(fields[4])] = optional
	}
	return t, nil
}

// unescape undoes the octal escapes of blanks and backslashes.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// propagates tells whether the mount that holds path is shared, or at least a
// slave, and its mount point.
func (t mountTable) propagates(path string, slaveIsEnough bool) (point string, ok bool) {
	for point = filepath.Clean(path); ; point = filepath.Dir(point) {
		if optional, is := t.points[point]; is {
			ok = strings.Contains(optional, "shared:") || slaveIsEnough && strings.Contains(optional, "master:")
			return point, ok
		}
		if point == "/" {
			return point, false
		}
	}
}
