package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone: there is no such process any more, or its PID has a new owner.
var ErrGone = errors.New("process is gone")

// Exit is how a process ended.
type Exit struct {
	Known  bool // false: it ended where nobody could see how
	Code   int  // 0–255, 128+signal for a signal death
	Signal int
}

// Process is one that is watched.
type Process struct {
	PID int
	// StartTime in clock ticks since boot; with the PID it names a process for
	// good.
	StartTime uint64

	child bool
	fd    *os.File
}

// Watch begins to watch a process. For a child that was not waited for yet the
// start time is not needed (0); else a process with another one is ErrGone.
func Watch(pid int, startTime uint64) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return watch(pid, startTime, fd)
}

// WatchFD is Watch with a pidfd from before, which it takes over. It works for
// a process that has ended and was reaped meanwhile.
func WatchFD(pid int, startTime uint64, pidfd *os.File) (*Process, error) {
	if _, err := readStat(pid); err != nil {
		// It is known by its descriptor alone.
		return &Process{PID: pid, StartTime: startTime, fd: pidfd}, nil
	}
	fd, err := unix.FcntlInt(pidfd.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	_ = pidfd.Close()
	if err != nil {
		return nil, err
	}
	p, err := watch(pid, startTime, fd)
	if errors.Is(err, ErrGone) { // the PID has a new owner, the descriptor is still the old one's
		return Watch(pid, startTime)
	}
	return p, err
}

func watch(pid int, startTime uint64, fd int) (*Process, error) {
	// The descriptor is open before this is read, so they are of one process.
	st, err := readStat(pid)
	if err != nil || startTime != 0 && st.startTime != startTime {
		_ = unix.Close(fd)
		return nil, ErrGone
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for Go's poller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	return &Process{
		PID: pid, StartTime: st.startTime, child: st.ppid == os.Getpid(),
		fd: os.NewFile(uintptr(fd), "pidfd"),
	}, nil
}

// Signal sends a signal; ErrGone once the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	var serr error
	err := p.control(func(fd int) { serr = unix.PidfdSendSignal(fd, sig, nil, 0) })
	if err != nil || serr == unix.ESRCH {
		return ErrGone
	}
	return serr
}

// Descriptor calls f with the pidfd.
func (p *Process) Descriptor(f func(fd int)) error { return p.control(f) }

func (p *Process) control(f func(fd int)) error {
	if p.fd == nil {
		return ErrGone
	}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// Wait returns when the process has ended; a child is reaped. Only one may call
// it, once; the process is closed after it. ErrStopped after Stop.
func (p *Process) Wait() (Exit, error) {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return Exit{}, err
	}
	err = raw.Read(func(fd uintptr) bool { return polled(int(fd), 0)&unix.POLLIN != 0 })
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return Exit{}, ErrStopped
	}
	if err != nil {
		return Exit{}, fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	defer p.fd.Close()
	if p.child {
		return p.reap(), nil
	}
	return p.adoptedExit(), nil
}

// ErrStopped: the watch was given up, the process goes on.
var ErrStopped = errors.New("no longer watched")

// Stop ends a Wait without the process.
func (p *Process) Stop() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) }

// polled asks for events of a pidfd: POLLIN once it ended, POLLHUP once it was
// reaped.
func polled(fd int, timeout time.Duration) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, int(timeout.Milliseconds()))
		if err != unix.EINTR {
			return fds[0].Revents
		}
	}
}

func (p *Process) reap() Exit {
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.PID, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid != p.PID {
			return Exit{}
		}
		return exitOf(status)
	}
}

func exitOf(status unix.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{Known: true, Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
	}
	return Exit{Known: true, Code: status.ExitStatus()}
}

// reapPatience is how long the new parent of an adopted process may take to
// reap it; only then does the kernel tell how it ended by its pidfd.
const reapPatience = 2 * time.Second

// adoptedExit asks the kernel how somebody else's child ended: its zombie, while
// it is there, or its pidfd, on kernels from 6.15.
func (p *Process) adoptedExit() (exit Exit) {
	if st, err := readStat(p.PID); err == nil && st.startTime == p.StartTime && st.state == 'Z' && mayReadExitCodes() {
		return exitOf(unix.WaitStatus(st.exitCode))
	}
	deadline := time.Now().Add(reapPatience)
	_ = p.control(func(fd int) {
		for {
			if status, ok := pidfdExit(fd); ok {
				exit = exitOf(status)
				return
			}
			if polled(fd, 0)&unix.POLLHUP != 0 || time.Now().After(deadline) {
				// Reaped: the last look is after that was seen.
				if status, ok := pidfdExit(fd); ok {
					exit = exitOf(status)
				}
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return exit
}

// mayReadExitCodes: without CAP_SYS_PTRACE the kernel shows others' exit codes
// as zero, which must not be taken for one.
func mayReadExitCodes() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

type stat struct {
	state     byte
	ppid      int
	startTime uint64
	exitCode  uint32
}

// readStat reads /proc/PID/stat (proc_pid_stat(5)).
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	// The second field is the name in parentheses and may hold anything.
	i := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[i+1:]))
	const first = 3 // number of the first field here
	if i < 0 || len(fields) <= 52-first {
		return stat{}, fmt.Errorf("bad stat of process %d", pid)
	}
	s := stat{state: fields[0][0]}
	ppid, err1 := strconv.Atoi(fields[4-first])
	start, err2 := strconv.ParseUint(fields[22-first], 10, 64)
	code, err3 := strconv.ParseUint(fields[52-first], 10, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return stat{}, fmt.Errorf("bad stat of process %d: %w", pid, err)
	}
	s.ppid, s.startTime, s.exitCode = ppid, start, uint32(code)
	return s, nil
}

// Gone is a process that is known to have ended: every Signal is ErrGone.
func Gone() *Process { return &Process{} }
