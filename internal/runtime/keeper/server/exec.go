package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/process"
	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

// execSession is a process that lives as long as a client's connection.
type execSession struct {
	ContainerID string
	PID         int
	OOMKills    uint64 // of the container when it began

	proc *process.Process
	exit chan process.Exit // receives once
}

// startExec starts the process; the files are closed here. A client that has gone
// while it waited for its turn, a probe that timed out say, needs none.
func (s *Server) startExec(r keeper.ExecRequest, files []*os.File, alive func() bool) (e *execSession, terminal *os.File, err error) {
	defer wire.CloseAll(files)
	defer s.starts.enter()()
	if !alive() {
		return nil, nil, fmt.Errorf("exec in %s: the client is gone: %w", r.ContainerID, keeper.ErrUnavailable)
	}
	io, err := execStdio(r, files)
	if err != nil {
		return nil, nil, err
	}
	valid := keeper.Exec{ContainerID: r.ContainerID, Process: r.Process}
	if err := valid.Validate(); err != nil {
		return nil, nil, err
	}
	c := s.findContainer(r.ContainerID)
	if c == nil {
		return nil, nil, fmt.Errorf("container %s: %w", r.ContainerID, keeper.ErrNotFound)
	}
	c.execs.RLock()
	defer c.execs.RUnlock()
	if _, err := s.running(r.ContainerID); err != nil {
		return nil, nil, err
	}
	kills := s.cgroups.OOMKills(s.recordOf(c).Status.Cgroup)
	pid, terminal, err := s.cfg.Runtime.Exec(c.id, r.Process, io)
	if err != nil {
		select {
		case <-c.ended: // under our hands
			return nil, nil, fmt.Errorf("container %s: %w", c.id, keeper.ErrNotRunning)
		default:
		}
		return nil, nil, &keeper.StartError{ID: c.id, Message: err.Error()}
	}
	e = &execSession{ContainerID: c.id, PID: pid, OOMKills: kills}
	if err := s.watchExec(e, 0); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		if terminal != nil {
			_ = terminal.Close()
		}
		return nil, nil, err
	}
	return e, terminal, nil
}

func (s *Server) watchExec(e *execSession, startTime uint64) error {
	proc, err := process.Watch(e.PID, startTime)
	if err != nil {
		return fmt.Errorf("watch exec process: %w", err)
	}
	e.proc, e.exit = proc, make(chan process.Exit, 1)
	s.watch(proc, func(exit process.Exit) { e.exit <- exit })
	return nil
}

func execStdio(r keeper.ExecRequest, files []*os.File) (Stdio, error) {
	io := Stdio{TTY: r.TTY}
	for i, to := range []**os.File{&io.Stdin, &io.Stdout, &io.Stderr} {
		if !r.Files[i] {
			continue
		}
		if len(files) == 0 {
			return io, fmt.Errorf("exec: fewer descriptors than announced: %w", keeper.ErrInvalid)
		}
		*to, files = files[0], files[1:]
		// A process expects its streams to block; our client's poller did not.
		if err := unix.SetNonblock(int((*to).Fd()), false); err != nil {
			return io, fmt.Errorf("exec: stream %d: %w", i, err)
		}
	}
	return io, nil
}

// serveExec is the rest of an exec's connection: signals one way, the exit
// status the other. It returns false when it was interrupted for an upgrade,
// which goes on with it.
func (s *Server) serveExec(conn *wire.Conn, e *execSession) (finished bool) {
	gone := make(chan error, 1)
	go func() { gone <- e.readSignals(conn) }()
	select {
	case exit := <-e.exit:
		status := keeper.ExitStatus{Code: exit.Code, Signal: exit.Signal}
		if c := s.findContainer(e.ContainerID); c != nil && exit.Signal == int(syscall.SIGKILL) {
			status.OOMKilled = s.cgroups.OOMKills(s.recordOf(c).Status.Cgroup) > e.OOMKills
		}
		_ = conn.Send("", status)
		_ = conn.Close()
		<-gone
		return true
	case err := <-gone:
		if errors.Is(err, wire.ErrIdle) {
			return false
		}
		_ = conn.Close()
		// The process and what it started, unless that has left its group.
		_ = unix.Kill(-e.PID, unix.SIGKILL)
		_ = e.proc.Signal(syscall.SIGKILL)
		<-e.exit
		return true
	}
}

func (e *execSession) readSignals(conn *wire.Conn) error {
	for {
		_, body, files, err := conn.Receive()
		wire.CloseAll(files)
		if err != nil {
			return err
		}
		var m keeper.ExecSignal
		if err := json.Unmarshal(body, &m); err != nil {
			return err
		}
		_ = e.proc.Signal(m.Signal)
	}
}
