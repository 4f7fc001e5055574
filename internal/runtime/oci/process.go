package oci

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// newProcess is p in libcontainer's terms, streams excepted.
func newProcess(p *specs.Process) (*libcontainer.Process, error) {
	affinity, err := configs.ConvertCPUAffinity(p.ExecCPUAffinity)
	if err != nil {
		return nil, fmt.Errorf("CPU affinity: %w", err)
	}
	process := &libcontainer.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd,
		UID: int(p.User.UID), GID: int(p.User.GID),
		Label: p.SelinuxLabel, AppArmorProfile: p.ApparmorProfile, NoNewPrivileges: &p.NoNewPrivileges,
		Scheduler: p.Scheduler, IOPriority: p.IOPriority, CPUAffinity: affinity,
	}
	if s := p.ConsoleSize; s != nil {
		process.ConsoleWidth, process.ConsoleHeight = uint16(s.Width), uint16(s.Height)
	}
	if c := p.Capabilities; c != nil {
		process.Capabilities = &configs.Capabilities{
			Bounding: c.Bounding, Effective: c.Effective, Inheritable: c.Inheritable,
			Permitted: c.Permitted, Ambient: c.Ambient,
		}
	}
	for _, g := range p.User.AdditionalGids {
		process.AdditionalGroups = append(process.AdditionalGroups, int(g))
	}
	for _, l := range p.Rlimits {
		number, ok := rlimits[l.Type]
		if !ok {
			return nil, fmt.Errorf("rlimit %q is not known", l.Type)
		}
		process.Rlimits = append(process.Rlimits, configs.Rlimit{Type: number, Hard: l.Hard, Soft: l.Soft})
	}
	return process, nil
}

// start runs the process to the point where it is the container's: for an init
// until it waits for Start, for another until its command runs.
func start(c *libcontainer.Container, p *libcontainer.Process, io Stdio) (pid int, terminal *os.File, err error) {
	var console, consoleChild *os.File
	if io.TTY {
		if console, consoleChild, err = socketpair(); err != nil {
			return 0, nil, err
		}
		defer console.Close()
		defer consoleChild.Close()
		p.ConsoleSocket = consoleChild
	} else {
		// A nil *os.File in these interfaces would not be nil.
		if io.Stdin != nil {
			p.Stdin = io.Stdin
		}
		if io.Stdout != nil {
			p.Stdout = io.Stdout
		}
		if io.Stderr != nil {
			p.Stderr = io.Stderr
		}
	}
	if err := c.Start(p); err != nil {
		return 0, nil, err
	}
	if pid, err = p.Pid(); err != nil {
		return 0, nil, fmt.Errorf("started process: %w", err)
	}
	if io.TTY {
		// It was sent before the process was ready, so this does not wait.
		if terminal, err = receiveFile(console); err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = p.Wait()
			return 0, nil, fmt.Errorf("receive the terminal: %w", err)
		}
	}
	return pid, terminal, nil
}

func socketpair() (parent, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("console socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "console child"), nil
}

// receiveFile takes the one descriptor that was sent over a socket.
func receiveFile(socket *os.File) (*os.File, error) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("no descriptor in the message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors in the message", len(fds))
	}
	_ = unix.SetNonblock(fds[0], true) // so that the Go poller serves it
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
