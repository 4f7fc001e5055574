package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/containerd/v2/core/mount"
	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A container's folder below ContainersDir holds nothing but mount points:
// rootfs, and volume-<n> for each image volume.
func (s *Service) containerDir(id string) string { return filepath.Join(s.cfg.ContainersDir, id) }
func (s *Service) rootfs(id string) string       { return filepath.Join(s.containerDir(id), "rootfs") }

// mountRootfs gives the container its writable layer and mounts it.
func (s *Service) mountRootfs(ctx context.Context, id, imageID string, opts SnapshotOptions) (string, error) {
	mounts, err := s.cfg.Images.Prepare(ctx, id, imageID, opts)
	if err != nil {
		return "", fmt.Errorf("prepare root file system: %w", err)
	}
	at := s.rootfs(id)
	return at, mountAt(mounts, at)
}

// mountVolume mounts an image read-only beside the rootfs and returns the
// folder that the container shall see. The mount is told which image it is.
func (s *Service) mountVolume(ctx context.Context, id string, n int, m *runtimeapi.Mount, opts SnapshotOptions) (key, dir string, err error) {
	ref := m.Image.GetImage()
	img, err := s.cfg.Images.Resolve(ctx, ref)
	if err != nil {
		return "", "", fmt.Errorf("image volume %q: %w", ref, err)
	}
	m.Image.ImageRef = img.ID
	name := "volume-" + strconv.Itoa(n)
	key = id + "-" + name
	mounts, err := s.cfg.Images.View(ctx, key, img.ID, opts)
	if err != nil {
		return key, "", fmt.Errorf("image volume %q: %w", ref, err)
	}
	at := filepath.Join(s.containerDir(id), name)
	if err := mountAt(mounts, at); err != nil {
		return key, "", err
	}
	dir, err = securejoin.SecureJoin(at, m.ImageSubPath)
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return key, "", fmt.Errorf("image volume %q: sub path %q: %w", ref, m.ImageSubPath, err)
	}
	return key, dir, nil
}

func mountAt(mounts []mount.Mount, at string) error {
	// 0711: a container in a user namespace walks there as its own root, which is
	// nobody to the host. The names are not to be guessed.
	if err := os.MkdirAll(at, 0o711); err != nil {
		return err
	}
	if err := mount.All(mounts, at); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

// unmountAll unmounts and removes the mount points of a container. Folders are
// removed by rmdir alone: a recursive removal through a mount that is still
// there would delete what is mounted, an image's layer for one.
func (s *Service) unmountAll(id string) error {
	dir := s.containerDir(id)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := unmount(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return unix.Rmdir(dir)
}

func unmount(at string) error {
	// Until nothing is mounted there: a repeated creation may have stacked mounts.
	for {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
	if err := unix.Rmdir(at); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove mount point %s: %w", at, err)
	}
	return nil
}

// dropRootfs undoes mountRootfs and mountVolume.
func (s *Service) dropRootfs(ctx context.Context, id string, volumes []string) error {
	if err := s.unmountAll(id); err != nil {
		return err
	}
	for _, key := range append([]string{id}, volumes...) {
		if err := s.cfg.Images.Remove(ctx, key); err != nil {
			return fmt.Errorf("remove snapshot %s: %w", key, err)
		}
	}
	return nil
}

// readInside reads a small file of a root file system, following its links as
// the container would. An absent file is nil.
func readInside(root, path string) ([]byte, error) {
	full, err := securejoin.SecureJoin(root, path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s of the image is not a regular file", path)
	case info.Size() > maxInside:
		return nil, fmt.Errorf("%s of the image is too large", path)
	}
	return os.ReadFile(full)
}

// maxInside bounds what an image can make us read.
const maxInside = 4 << 20
