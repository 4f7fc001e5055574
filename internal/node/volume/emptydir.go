package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// tmpfsMode is what the kernel gives a tmpfs, and so what upstream's volumes in memory have.
const tmpfsMode = 0o777 | fs.ModeSticky

// setupEmptyDir makes dir an empty folder of its medium. What is there already stays: its life is the pod's, not the agent's.
func setupEmptyDir(pod *v1.Pod, source *v1.EmptyDirVolumeSource, dir string, memoryBytes int64) error {
	mode := fs.FileMode(0o777)
	if source.Medium == v1.StorageMediumMemory {
		mode = tmpfsMode
	}
	if source.Mode != nil {
		mode = unixMode(*source.Mode)
	}
	fresh, err := makeFolder(dir, mode)
	if err != nil {
		return err
	}
	var mountIt func() error
	switch {
	case source.Medium == v1.StorageMediumDefault:
		if !fresh {
			return nil
		}
		return setGroup(dir, fsGroup(pod), false, nil)
	case source.Medium == v1.StorageMediumMemory:
		mountIt = func() error { return mountTmpfs(dir, mode, memorySize(pod, source.SizeLimit, memoryBytes)) }
	case strings.HasPrefix(string(source.Medium), string(v1.StorageMediumHugePages)):
		pageSize, err := hugePageSize(pod, source.Medium)
		if err != nil {
			return err
		}
		mountIt = func() error { return mountHugePages(dir, mode, pageSize) }
	default:
		return fmt.Errorf("unknown storage medium %q", source.Medium)
	}
	if is, err := mounted(dir); err != nil || is {
		return err
	}
	if err := mountIt(); err != nil {
		return err
	}
	return setGroup(dir, fsGroup(pod), false, nil)
}

// unixMode turns API mode bits, sticky and set-id included, into Go's.
func unixMode(bits int32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	for bit, flag := range map[int32]fs.FileMode{0o1000: fs.ModeSticky, 0o2000: fs.ModeSetgid, 0o4000: fs.ModeSetuid} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// makeFolder makes dir with the mode whatever the umask is, and tells whether it is new.
func makeFolder(dir string, mode fs.FileMode) (fresh bool, err error) {
	err = os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, os.Chmod(dir, mode)
}

// memorySize limits a volume in memory: the smallest of its own limit, the pod's memory limit and the node's memory; 0 is no
// limit but the kernel's (half of the memory).
func memorySize(pod *v1.Pod, limit *resource.Quantity, memoryBytes int64) int64 {
	size := memoryBytes
	for _, candidate := range []int64{podMemoryLimit(pod), quantityOrZero(limit)} {
		if candidate > 0 && (size == 0 || candidate < size) {
			size = candidate
		}
	}
	return size
}

func quantityOrZero(q *resource.Quantity) int64 {
	if q == nil {
		return 0
	}
	return q.Value()
}

// podMemoryLimit sums the containers' limits; 0 when one of them has none.
func podMemoryLimit(pod *v1.Pod) int64 {
	if pod.Spec.Resources != nil {
		if q, ok := pod.Spec.Resources.Limits[v1.ResourceMemory]; ok {
			return q.Value()
		}
	}
	var sum int64
	for i := range pod.Spec.Containers {
		q, ok := pod.Spec.Containers[i].Resources.Limits[v1.ResourceMemory]
		if !ok {
			return 0
		}
		sum += q.Value()
	}
	return sum
}

func mountTmpfs(dir string, mode fs.FileMode, size int64) error {
	options := fmt.Sprintf("mode=%04o", posixBits(mode))
	if size > 0 {
		options += fmt.Sprintf(",size=%d", size)
	}
	// Secrets must not reach a swap device; kernels before 6.3 don't know the option.
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	if err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

func posixBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSticky: 0o1000, fs.ModeSetgid: 0o2000, fs.ModeSetuid: 0o4000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

func mountHugePages(dir string, mode fs.FileMode, pageSize resource.Quantity) error {
	options := fmt.Sprintf("mode=%04o,pagesize=%d", posixBits(mode), pageSize.Value())
	if err := unix.Mount("nodev", dir, "hugetlbfs", 0, options); err != nil {
		return fmt.Errorf("mount hugetlbfs on %s: %w", dir, err)
	}
	return nil
}

// hugePageSize finds the page size of the medium ("HugePages" or "HugePages-2Mi") among the pod's requests.
func hugePageSize(pod *v1.Pod, medium v1.StorageMedium) (resource.Quantity, error) {
	wanted := strings.TrimPrefix(strings.TrimPrefix(string(medium), string(v1.StorageMediumHugePages)), "-")
	requested := map[string]bool{}
	for _, c := range allContainers(pod) {
		for name := range c.Resources.Requests {
			if size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix); ok {
				requested[size] = true
			}
		}
	}
	switch {
	case wanted == "" && len(requested) > 1:
		return resource.Quantity{}, fmt.Errorf("medium: %s can't be used if container requests multiple huge page sizes", medium)
	case wanted == "":
		for size := range requested {
			wanted = size
		}
	case !requested[wanted]:
		wanted = ""
	}
	if wanted == "" {
		return resource.Quantity{}, fmt.Errorf("medium %s: hugePages storage requested, but there is no resource request for huge pages", medium)
	}
	return resource.ParseQuantity(wanted)
}
