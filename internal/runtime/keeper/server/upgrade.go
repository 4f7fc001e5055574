package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

// Handover is what one program of a keeper leaves to the next one in the same
// process: descriptors by number, and what they are for. Everything else the
// next one adopts from disk as if we had been killed; but the containers are
// still its children.
type Handover struct {
	Lock, Listener int
	Conns          []ConnHandover
	// Files are stdin pipes and terminals, by the name they are parked under.
	Files map[string]int
}

// ConnHandover is one open connection.
type ConnHandover struct {
	FD   int
	Kind string
	// Exec sessions.
	ContainerID string `json:",omitempty"`
	PID         int    `json:",omitempty"`
	StartTime   uint64 `json:",omitempty"`
	OOMKills    uint64 `json:",omitempty"`
	// Attach sessions: our ends of the pipes, -1 = none.
	Stdin, Stdout, Stderr int
	Pending               []byte `json:",omitempty"` // input that is read and not yet written
}

func (h *Handover) files() map[string]int {
	if h == nil {
		return nil
	}
	return h.Files
}

// HandoverFlag names the descriptor from which the next program reads it.
const HandoverFlag = "-handover"

// CheckFlag makes a keeper program print its protocol and end: a program that
// can't do that is no upgrade.
const CheckFlag = "-check"

// ReadHandover reads what the last program left.
func ReadHandover(fd int) (*Handover, error) {
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	var h Handover
	if err := json.NewDecoder(f).Decode(&h); err != nil {
		return nil, fmt.Errorf("handover of the old keeper: %w", err)
	}
	for _, fd := range h.all() {
		unix.CloseOnExec(fd)
	}
	return &h, nil
}

func (h *Handover) all() []int {
	fds := []int{h.Lock, h.Listener}
	for _, c := range h.Conns {
		fds = append(fds, c.FD)
		if c.Kind == kindAttach {
			fds = append(fds, c.Stdin, c.Stdout, c.Stderr)
		}
	}
	for _, fd := range h.Files {
		fds = append(fds, fd)
	}
	open := fds[:0]
	for _, fd := range fds {
		if fd >= 0 {
			open = append(open, fd)
		}
	}
	return open
}

const (
	checkPatience = 10 * time.Second
	// drainPatience is how long requests under way may take before an upgrade
	// is refused.
	drainPatience = 60 * time.Second
	// clientPatience is how long an attached client may not read.
	clientPatience = time.Second
)

func (cs *connections) upgradeRequest(c *connection, body []byte) bool {
	in, err := decodeBody[keeper.UpgradeRequest](keeper.MethodUpgrade, body)
	if err == nil {
		err = cs.s.upgrade(c, in.Path)
	}
	// Only a failure comes back here; the next program answers a success.
	return c.conn.Send(keeper.EncodeError(err), nil) == nil
}

func (s *Server) upgrade(asker *connection, path string) error {
	if err := checkProgram(path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if err := s.conns.park(ctx, 1, kindRequests); err != nil { // all but the asker's
		s.conns.unpark(kindRequests, asker)
		return fmt.Errorf("upgrade: %w", err)
	}
	// From here on there is no way back, only forward: to the new program, or
	// to this one again.
	s.preparing.Wait()
	s.pool.close()
	s.stopWatching()
	// Nothing changes any more: the streams can be told all there is to tell.
	_ = s.conns.park(context.Background(), 0, kindExec, kindAttach, kindEvents)
	h, err := s.handover(asker)
	if err != nil {
		s.die(err)
	}
	err = s.execute(path, h)
	s.cfg.Log.Error("execute the new keeper, going on with the old", "path", path, "err", err)
	s.die(s.execute("/proc/self/exe", h))
	return nil
}

// die ends a keeper that can neither go on nor be replaced. The containers do
// not notice; whoever started it starts another, which adopts them.
func (s *Server) die(err error) {
	s.cfg.Log.Error("upgrade failed, the next keeper adopts everything", "err", err)
	os.Exit(1)
}

// checkProgram runs the candidate to see that it is a keeper that we may become.
func checkProgram(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, CheckFlag).Output()
	if err != nil {
		return fmt.Errorf("upgrade to %s: %w: %w", path, keeper.ErrInvalid, err)
	}
	got := strings.TrimSpace(string(out))
	protocol, err := strconv.Atoi(strings.TrimPrefix(got, checkPrefix))
	// A newer protocol is what upgrades are for; what is on disk and handed
	// over must stay readable across them.
	if err != nil || protocol < keeper.Protocol {
		return fmt.Errorf("upgrade to %s: it answers %q instead of %q: %w", path, got, CheckAnswer(), keeper.ErrInvalid)
	}
	return nil
}

const checkPrefix = "proa-keeper protocol "

// CheckAnswer is what a program of this protocol says to CheckFlag.
func CheckAnswer() string { return checkPrefix + strconv.Itoa(keeper.Protocol) }

// stopWatching gives up waiting for processes; those that have ended stay
// zombies for the next program.
func (s *Server) stopWatching() {
	s.mu.Lock()
	for _, p := range s.watched {
		p.Stop()
	}
	s.mu.Unlock()
	s.watchers.Wait()
}

// handover collects the descriptors, as duplicates that an exec keeps open.
func (s *Server) handover(asker *connection) (*Handover, error) {
	h := &Handover{Files: map[string]int{}}
	keep := func(raw syscall.RawConn, err error) int {
		fd := -1
		if err == nil {
			cerr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD, 3) })
			err = errors.Join(err, cerr)
		}
		if err != nil { // of a client that has just gone, say
			s.cfg.Log.Warn("hand over a descriptor", "err", err)
			return -1
		}
		return fd
	}
	keepFile := func(f *os.File) int {
		if f == nil {
			return -1
		}
		return keep(f.SyscallConn())
	}
	h.Lock, h.Listener = keepFile(s.lock), keep(s.listener.SyscallConn())
	if h.Lock < 0 || h.Listener < 0 {
		return nil, errors.New("the lock or the listener can't be handed over")
	}
	for c := range s.conns.all {
		file, err := c.conn.File()
		if err != nil {
			continue // closed
		}
		ch := ConnHandover{FD: keepFile(file), Kind: c.kind, Stdin: -1, Stdout: -1, Stderr: -1}
		_ = file.Close()
		switch {
		case c == asker:
			ch.Kind = kindUpgrade
		case c.exec != nil:
			ch.ContainerID, ch.PID, ch.OOMKills = c.exec.ContainerID, c.exec.PID, c.exec.OOMKills
			ch.StartTime = c.exec.proc.StartTime
		case c.attach != nil:
			a := c.attach
			ch.ContainerID = a.c.id
			ch.Stdin, ch.Stdout, ch.Stderr = keepFile(a.stdin), keepFile(a.stdout), keepFile(a.stderr)
			a.interruptStdin()
			if st := a.c.streams; st != nil {
				for _, f := range []*os.File{st.stdin, st.terminal} {
					if f != nil {
						_ = f.SetWriteDeadline(time.Unix(1, 0))
					}
				}
			}
			a.stdinW.Wait()
			ch.Pending = a.pending
		}
		h.Conns = append(h.Conns, ch)
	}
	for id, c := range s.containers {
		if c.streams == nil {
			continue
		}
		if c.streams.stdin != nil {
			h.Files[parkedStdin(id)] = keepFile(c.streams.stdin)
		}
		if c.streams.terminal != nil {
			h.Files[parkedTerminal(id)] = keepFile(c.streams.terminal)
		}
		c.streams.suspend()
		c.streams.outTee.CloseWithin(clientPatience)
		c.streams.errTee.CloseWithin(clientPatience)
	}
	return h, nil
}

// execute becomes the program at path; it returns only if it can't.
func (s *Server) execute(path string, h *Handover) error {
	fd, err := unix.MemfdCreate("handover", 0)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if _, err := unix.Pwrite(fd, text, 0); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	args := append([]string{}, s.cfg.Args...)
	args = append(args, HandoverFlag, strconv.Itoa(fd))
	return fmt.Errorf("execute %s: %w", path, syscall.Exec(path, args, s.cfg.Env))
}

// resumeEvents goes on with the subscriptions of an earlier program.
func (cs *connections) resumeEvents(h *Handover) {
	if h == nil {
		return
	}
	for _, ch := range h.Conns {
		if ch.Kind != kindEvents {
			continue
		}
		conn, err := inheritConn(ch.FD)
		if err != nil {
			cs.s.cfg.Log.Error("go on with a subscription", "err", err)
			continue
		}
		c := &connection{conn: conn, kind: kindEvents, events: cs.s.events.subscribe()}
		cs.start(c)
	}
}

// resume goes on with the other connections.
func (cs *connections) resume(h *Handover) {
	if h == nil {
		return
	}
	for _, ch := range h.Conns {
		if ch.Kind == kindEvents {
			continue
		}
		if err := cs.resumeOne(ch); err != nil {
			cs.s.cfg.Log.Error("go on with a connection", "kind", ch.Kind, "err", err)
		}
	}
}

func (cs *connections) resumeOne(ch ConnHandover) error {
	conn, err := inheritConn(ch.FD)
	if err != nil {
		return err
	}
	c := &connection{conn: conn, kind: ch.Kind}
	switch ch.Kind {
	case kindUpgrade:
		c.kind = kindRequests
		err = conn.Send("", nil)
	case kindExec:
		c.exec = &execSession{ContainerID: ch.ContainerID, PID: ch.PID, OOMKills: ch.OOMKills}
		err = cs.s.watchExec(c.exec, ch.StartTime)
	case kindAttach:
		c.attach, err = cs.s.resumeAttach(ch)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	cs.start(c)
	return nil
}

func inheritConn(fd int) (*wire.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return wire.NewConn(c.(*net.UnixConn)), nil
}

func (s *Server) resumeAttach(ch ConnHandover) (*attachment, error) {
	file := func(fd int) *os.File {
		if fd < 0 {
			return nil
		}
		_ = unix.SetNonblock(fd, true)
		return os.NewFile(uintptr(fd), "attach")
	}
	a := &attachment{stdin: file(ch.Stdin), stdout: file(ch.Stdout), stderr: file(ch.Stderr), pending: ch.Pending}
	a.c = s.findContainer(ch.ContainerID)
	err := fmt.Errorf("container %s: %w", ch.ContainerID, keeper.ErrNotFound)
	if a.c != nil {
		err = a.join(s)
	}
	if err != nil {
		wire.CloseAll([]*os.File{a.stdin, a.stdout, a.stderr})
		return nil, err
	}
	return a, nil
}
