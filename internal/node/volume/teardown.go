package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// unmountBelow detaches every mount at or below dir, the deepest first. Nothing below a pod's folder may be mounted when the
// folder is removed: a bind mount would have the removal reach what is mounted.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.Mountpoint != dir && !strings.HasPrefix(info.Mountpoint, dir+"/"), false
	})
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	// Later mounts of the list hide earlier ones at the same place and lie in them: backwards is inside out.
	slices.Reverse(mounts)
	slices.SortStableFunc(mounts, func(a, b *mountinfo.Info) int { return len(b.Mountpoint) - len(a.Mountpoint) })
	var errs []error
	for _, m := range mounts {
		// Detached, since a process that still looks at it must not keep the pod from going; it is freed with its last user.
		err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		// EINVAL and ENOENT: gone with a parent's detachment.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(errs...)
}

// mounted tells whether name is the root of a mount, without reading the whole mount table.
func mounted(name string) (bool, error) {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &stat)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("statx %s: %w", name, err)
	}
	return stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}
