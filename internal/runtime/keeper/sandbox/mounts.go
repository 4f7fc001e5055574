package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Paths are where a sandbox's namespaces and shared memory are mounted; empty
// for what it takes from the host.
type Paths struct {
	Net, IPC, UTS, PID, User, Shm string
}

// defaultShm is the size of /dev/shm when nothing else is asked for.
const defaultShm = 64 << 20

// PathsOf tells where things of a sandbox go below the run folder.
func PathsOf(run, id string, k Kind) Paths {
	at := func(own bool, dir string) string {
		if !own {
			return ""
		}
		return filepath.Join(run, dir, id)
	}
	return Paths{
		Net: at(k.Net, "netns"), IPC: at(k.IPC, "ipcns"), UTS: at(k.UTS, "utsns"), PID: at(k.PID, "pidns"),
		User: at(len(k.UIDMappings) > 0, "userns"), Shm: at(k.IPC, "shm"),
	}
}

func (p Paths) namespaces() map[string]string {
	return map[string]string{"net": p.Net, "ipc": p.IPC, "uts": p.UTS, "pid": p.PID, "user": p.User}
}

// Mount pins the namespaces of a process, so that they outlive it, and mounts
// the shared memory.
func (p Paths) Mount(pid int, k Kind, shmSize int64) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Unmount())
		}
	}()
	for name, path := range p.namespaces() {
		if path == "" {
			continue
		}
		if err := pin(fmt.Sprintf("/proc/%d/ns/%s", pid, name), path); err != nil {
			return fmt.Errorf("pin %s namespace: %w", name, err)
		}
	}
	if p.Shm == "" {
		return nil
	}
	if shmSize == 0 {
		shmSize = defaultShm
	}
	if err := os.MkdirAll(p.Shm, 0o755); err != nil {
		return err
	}
	options := "mode=1777,size=" + strconv.FormatInt(shmSize, 10)
	if len(k.UIDMappings) > 0 && len(k.GIDMappings) > 0 {
		options += fmt.Sprintf(",uid=%d,gid=%d", k.UIDMappings[0].HostID, k.GIDMappings[0].HostID)
	}
	if err := unix.Mount("shm", p.Shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mount shared memory: %w", err)
	}
	return nil
}

func pin(source, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	_ = f.Close()
	return unix.Mount(source, path, "none", unix.MS_BIND, "")
}

// Unmount undoes Mount, whole or in part; what is not there is fine.
func (p Paths) Unmount() error {
	var errs []error
	for _, path := range p.namespaces() {
		if path == "" {
			continue
		}
		_ = unix.Unmount(path, unix.MNT_DETACH)
		if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
			errs = append(errs, &os.PathError{Op: "remove", Path: path, Err: err})
		}
	}
	if p.Shm != "" {
		_ = unix.Unmount(p.Shm, unix.MNT_DETACH)
		// Rmdir, never RemoveAll: were it still mounted, it would empty it.
		if err := unix.Rmdir(p.Shm); err != nil && err != unix.ENOENT {
			errs = append(errs, &os.PathError{Op: "remove", Path: p.Shm, Err: err})
		}
	}
	return errors.Join(errs...)
}
