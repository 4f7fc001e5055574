package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Kind is which namespaces a sandbox has for itself.
type Kind struct {
	Net, IPC, UTS, PID       bool
	UIDMappings, GIDMappings []specs.LinuxIDMapping
}

// Plain is the kind of most pods, the one worth keeping in stock.
func (k Kind) Plain() bool {
	return k.Net && k.IPC && k.UTS && !k.PID && len(k.UIDMappings) == 0
}

// Program is an open pause binary, executed through its descriptor: inside a
// user namespace its path may not be reachable.
type Program struct{ file *os.File }

// OpenProgram opens the pause binary.
func OpenProgram(path string) (*Program, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("pause program %s: %w", path, err)
	}
	defer unix.Close(fd)
	// A high number, because os.StartProcess moves descriptors about at the
	// low ones before it executes (go.dev/issue/61751).
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		return nil, fmt.Errorf("pause program %s: %w", path, err)
	}
	return &Program{os.NewFile(uintptr(high), path)}, nil
}

// Close gives up the descriptor.
func (p *Program) Close() error { return p.file.Close() }

// pauseReady is how long a pause may take to become one. It takes about a
// millisecond; the rest is for a machine that stands still.
const pauseReady = 30 * time.Second

// Spawn starts a pause process in new namespaces and returns when it has given
// up its privileges. The process is the caller's to reap, by its PID.
func (p *Program) Spawn(k Kind) (pid int, h *Holder, err error) {
	h, err = newHolder()
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	ready, report, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("start pause: %w", err)
	}
	defer ready.Close()
	process, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", p.file.Fd()), []string{"/pause"}, &os.ProcAttr{
		Env:   []string{},
		Dir:   "/",
		Files: []*os.File{nil, nil, nil, h.send, h.receive, report},
		Sys:   k.attributes(),
	})
	_ = report.Close()
	if err != nil {
		return 0, nil, fmt.Errorf("start pause: %w", err)
	}
	if err := awaitReady(ready); err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return 0, nil, fmt.Errorf("start pause: %w", err)
	}
	pid = process.Pid
	_ = process.Release()
	return pid, h, nil
}

func (k Kind) attributes() *syscall.SysProcAttr {
	flags := uintptr(unix.CLONE_NEWNS)
	for _, ns := range []struct {
		own  bool
		flag uintptr
	}{{k.Net, unix.CLONE_NEWNET}, {k.IPC, unix.CLONE_NEWIPC}, {k.UTS, unix.CLONE_NEWUTS}, {k.PID, unix.CLONE_NEWPID}} {
		if ns.own {
			flags |= ns.flag
		}
	}
	attributes := &syscall.SysProcAttr{Cloneflags: flags, Setsid: true}
	if len(k.UIDMappings) > 0 {
		attributes.Cloneflags |= unix.CLONE_NEWUSER
		attributes.UidMappings, attributes.GidMappings = idMap(k.UIDMappings), idMap(k.GIDMappings)
		// Without these the child stays the host's root as seen from outside,
		// with its groups.
		attributes.GidMappingsEnableSetgroups = true
		attributes.Credential = &syscall.Credential{}
	}
	return attributes
}

func idMap(mappings []specs.LinuxIDMapping) []syscall.SysProcIDMap {
	all := make([]syscall.SysProcIDMap, 0, len(mappings))
	for _, m := range mappings {
		all = append(all, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return all
}

// awaitReady reads what pause says of itself: a zero, or the letter of the step
// that failed and its errno (see pause.c).
func awaitReady(ready *os.File) error {
	_ = ready.SetReadDeadline(time.Now().Add(pauseReady))
	var report [2]byte
	n, err := io.ReadFull(ready, report[:])
	switch {
	case n == 1 && report[0] == 0:
		return nil
	case n == 2:
		return fmt.Errorf("step %q: %w", report[0], syscall.Errno(report[1]))
	case errors.Is(err, io.EOF):
		return errors.New("it ended before it was ready")
	default:
		return err
	}
}
