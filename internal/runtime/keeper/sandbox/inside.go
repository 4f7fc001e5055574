package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Configure does what must be done from inside the sandbox's namespaces:
// loopback up, hostname, sysctls.
func Configure(pid int, k Kind, hostname string, sysctls map[string]string) error {
	paths := make([]string, 0, len(sysctls))
	for name := range sysctls {
		path, err := sysctlPath(k, name)
		if err != nil {
			return err
		}
		paths = append(paths, path, sysctls[name])
	}
	return inside(pid, k, func() error {
		if k.Net {
			if err := loopbackUp(); err != nil {
				return fmt.Errorf("loopback up: %w", err)
			}
		}
		if k.UTS && hostname != "" {
			if err := unix.Sethostname([]byte(hostname)); err != nil {
				return fmt.Errorf("set hostname: %w", err)
			}
		}
		for i := 0; i < len(paths); i += 2 {
			// Not WriteFile: it creates what is not there.
			if err := writeSysctl(paths[i], paths[i+1]); err != nil {
				return fmt.Errorf("set sysctl: %w", err)
			}
		}
		return nil
	})
}

// inside runs f on a thread in the namespaces of a process. The thread is thrown
// away: one that could not come back must never run other goroutines.
func inside(pid int, k Kind, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- func() error {
			for _, ns := range []struct {
				own  bool
				name string
				flag int
			}{{k.Net, "net", unix.CLONE_NEWNET}, {k.IPC, "ipc", unix.CLONE_NEWIPC}, {k.UTS, "uts", unix.CLONE_NEWUTS}} {
				if !ns.own {
					continue
				}
				if err := join(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name), ns.flag); err != nil {
					return err
				}
			}
			return f()
		}()
	}()
	return <-done
}

func join(path string, flag int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, flag); err != nil {
		return fmt.Errorf("join namespace %s: %w", path, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// sysctlPath is the file of a sysctl, which must belong to a namespace that the
// sandbox has for itself; the host's are not a pod's to change.
func sysctlPath(k Kind, name string) (string, error) {
	// Both separators are in use: "net.ipv4.conf.eth0/1.forwarding".
	path := name
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		path = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	allowed := k.Net && strings.HasPrefix(path, "net/") ||
		k.IPC && (strings.HasPrefix(path, "kernel/shm") || strings.HasPrefix(path, "kernel/msg") ||
			path == "kernel/sem" || strings.HasPrefix(path, "fs/mqueue/")) ||
		k.UTS && (path == "kernel/domainname" || path == "kernel/hostname")
	if !allowed || filepath.Clean(path) != path {
		return "", fmt.Errorf("sysctl %q is not in a separate kernel namespace", name)
	}
	return "/proc/sys/" + path, nil
}

func writeSysctl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
