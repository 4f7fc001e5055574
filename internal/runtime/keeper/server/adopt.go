package server

import (
	"errors"
	"maps"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/process"
	"github.com/proa-project/proa/internal/runtime/keeper/sandbox"
)

// adopt takes over what an earlier keeper has left: after a crash from the
// state on disk and what is parked in pauses, after an upgrade with what that
// handed over besides.
func (s *Server) adopt(h *Handover) {
	sandboxes, err := s.store.sandboxes()
	if err != nil {
		s.cfg.Log.Error("read state of sandboxes", "err", err)
	}
	parked := map[string]*os.File{}
	for id, record := range sandboxes {
		maps.Copy(parked, s.adoptSandbox(id, record))
	}
	for name, fd := range h.files() {
		if old := parked[name]; old != nil {
			_ = old.Close()
		}
		parked[name] = os.NewFile(uintptr(fd), name)
	}
	containers, err := s.store.containers()
	if err != nil {
		s.cfg.Log.Error("read state of containers", "err", err)
	}
	for id, record := range containers {
		s.adoptContainer(id, record, parked)
	}
	s.dropHalfMade(containers)
	for _, f := range parked {
		if !s.isUsed(f) {
			_ = f.Close()
		}
	}
}

// isUsed tells whether an adopted container took the parked descriptor.
func (s *Server) isUsed(f *os.File) bool {
	for _, c := range s.containers {
		if c.streams != nil && (c.streams.stdin == f || c.streams.terminal == f) {
			return true
		}
	}
	return false
}

// adoptSandbox returns what is parked in the sandbox's pause.
func (s *Server) adoptSandbox(id string, record sandboxRecord) map[string]*os.File {
	e := &sandboxEntry{record: record, ended: make(chan struct{})}
	s.sandboxes[id] = e
	if !record.Status.Running {
		close(e.ended)
		e.proc = process.Gone()
		return nil
	}
	proc, err := process.Watch(record.Status.PID, record.StartTime)
	if err != nil {
		if !errors.Is(err, process.ErrGone) {
			s.cfg.Log.Error("watch pause", "sandbox", id, "err", err)
		}
		e.proc = process.Gone()
		s.pauseEnded(e)
		return nil
	}
	e.proc = proc
	var files map[string]*os.File
	err = proc.Descriptor(func(fd int) {
		var herr error
		if e.holder, herr = sandbox.FindHolder(fd); herr != nil {
			s.cfg.Log.Warn("take back parked descriptors", "sandbox", id, "err", herr)
			return
		}
		if files, herr = e.holder.Files(); herr != nil {
			s.cfg.Log.Warn("take back parked descriptors", "sandbox", id, "err", herr)
		}
	})
	if err != nil {
		s.cfg.Log.Warn("take back parked descriptors", "sandbox", id, "err", err)
	}
	s.watch(proc, func(process.Exit) { s.pauseEnded(e) })
	return files
}

func (s *Server) adoptContainer(id string, record containerRecord, parked map[string]*os.File) {
	c := &containerEntry{id: id, record: record, prepared: make(chan struct{}), ended: make(chan struct{})}
	close(c.prepared)
	s.containers[id] = c
	if record.Status.State == keeper.Exited {
		c.proc = process.Gone()
		close(c.ended)
		return
	}
	if record.PID == 0 {
		// Its start will say so. What there is of its process waits for nothing.
		c.prepareErr = errors.New("the keeper ended while the container was being made")
		if cg := record.Status.Cgroup; cg != "" {
			if err := s.cgroups.KillAnywhere(cg, killPatience); err != nil {
				s.cfg.Log.Error("kill a half made container", "container", id, "err", err)
			}
		}
		return
	}
	proc, gone := s.findProcess(id, record, parked)
	var err error
	if c.streams, err = adoptStreams(s.store.containerDir(id), record.Status, parked); err != nil {
		s.cfg.Log.Warn("take over streams", "container", id, "err", err)
	}
	if err := c.streams.pump(s.cfg.Log); err != nil {
		s.cfg.Log.Error("take over streams", "container", id, "err", err)
	}
	if gone != nil {
		c.proc = process.Gone()
		s.containerEnded(c, process.Exit{})
		return
	}
	c.proc = proc
	if record.Starting {
		s.finishStart(c)
	}
	s.watch(proc, func(exit process.Exit) { s.containerEnded(c, exit) })
}

// finishStart ends what an earlier keeper began.
func (s *Server) finishStart(c *containerEntry) {
	err := s.letRun(c, func() error {
		running, err := s.cfg.Runtime.FinishStart(c.id, c.record.PID)
		c.unseen = !running
		return err
	})
	if err != nil {
		s.cfg.Log.Error("finish the start of a container", "container", c.id, "err", err)
	}
}

// findProcess finds the container's process, also one that has ended since: the
// parked pidfd knows how.
func (s *Server) findProcess(id string, record containerRecord, parked map[string]*os.File) (*process.Process, error) {
	proc, err := process.Watch(record.PID, record.StartTime)
	pidfd := parked[parkedPidfd(id)]
	if err == nil || pidfd == nil {
		return proc, err
	}
	delete(parked, parkedPidfd(id))
	return process.WatchFD(record.PID, record.StartTime, pidfd)
}

// dropHalfMade removes folders of containers without a state.
func (s *Server) dropHalfMade(known map[string]containerRecord) {
	dir := filepath.Join(s.store.dir, "containers")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if _, ok := known[e.Name()]; ok {
			continue
		}
		if _, err := os.Stat(s.store.containerFile(e.Name())); err == nil {
			continue // unreadable: left for a human
		}
		_ = os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}
