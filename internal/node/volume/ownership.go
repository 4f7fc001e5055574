package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
)

// Bits that a group gets on what it takes over.
const (
	groupReadWrite = 0o660
	groupRead      = 0o440
	groupSearch    = 0o110
)

func fsGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// setGroup gives root and all below it to the group, with read (and write) permission, and makes folders pass the group on.
// nil is no group. Symbolic links change hands themselves, never what they point to. With policy OnRootMismatch a root that
// fits vouches for the rest; only volumes that outlive pods need one.
func setGroup(root string, group *int64, readOnly bool, policy *v1.PodFSGroupChangePolicy) error {
	if group == nil {
		return nil
	}
	if policy != nil && *policy == v1.FSGroupChangeOnRootMismatch && groupFits(root, *group, readOnly) {
		return nil
	}
	bits := fs.FileMode(groupReadWrite)
	if readOnly {
		bits = groupRead
	}
	var errs []error
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		errs = append(errs, giveToGroup(name, info, int(*group), bits))
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func giveToGroup(name string, info fs.FileInfo, group int, bits fs.FileMode) error {
	if err := os.Lchown(name, -1, group); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	mode := info.Mode() | bits
	if info.IsDir() {
		mode |= groupSearch | fs.ModeSetgid
	}
	return os.Chmod(name, mode)
}

// groupFits tells whether the root already has the group and its permissions.
func groupFits(root string, group int64, readOnly bool) bool {
	info, err := os.Stat(root)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int64(stat.Gid) != group || info.Mode()&fs.ModeSetgid == 0 {
		return false
	}
	bits := fs.FileMode(groupReadWrite | groupSearch)
	if readOnly {
		bits = groupRead | groupSearch
	}
	return info.Mode()&bits == bits
}
