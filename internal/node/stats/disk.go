package stats

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Usage is what lies below a folder.
type Usage struct {
	Bytes, Inodes uint64
}

// Add sums.
func (u *Usage) Add(other Usage) {
	u.Bytes += other.Bytes
	u.Inodes += other.Inodes
}

// DiskUsage measures a folder by the blocks that are really used, each hard-linked file once, without entering other file
// systems. What vanishes meanwhile is not there.
func DiskUsage(root string) (Usage, error) {
	type inode struct{ device, number uint64 }
	seen := map[inode]bool{}
	var out Usage
	device := uint64(0)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if name == root {
			device = uint64(stat.Dev)
		} else if uint64(stat.Dev) != device {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if stat.Nlink > 1 && !entry.IsDir() {
			id := inode{uint64(stat.Dev), stat.Ino}
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		// st_blocks counts 512 bytes whatever the file system's blocks are (stat(2)).
		out.Add(Usage{Bytes: uint64(stat.Blocks) * 512, Inodes: 1})
		return nil
	})
	return out, err
}

// volumeUsages measures each volume of a pod by its name.
func volumeUsages(podDir string) map[string]Usage {
	out := map[string]Usage{}
	plugins, err := os.ReadDir(filepath.Join(podDir, "volumes"))
	if err != nil {
		return out
	}
	for _, plugin := range plugins {
		dir := filepath.Join(podDir, "volumes", plugin.Name())
		volumes, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, volume := range volumes {
			if usage, err := DiskUsage(filepath.Join(dir, volume.Name())); err == nil {
				out[volume.Name()] = usage
			}
		}
	}
	return out
}
