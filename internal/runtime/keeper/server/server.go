package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/cgroup"
	"github.com/proa-project/proa/internal/runtime/keeper/process"
	"github.com/proa-project/proa/internal/runtime/keeper/sandbox"
)

// Stdio are the streams of a process; with TTY they are ignored.
type Stdio struct {
	TTY                   bool
	Stdin, Stdout, Stderr *os.File // nil = /dev/null
}

// Runtime starts processes in containers. A started process is our child, and
// its PID is ours to wait for.
type Runtime interface {
	// Prepare makes a container up to the point where only its command is
	// missing, which Start runs.
	Prepare(id string, spec *specs.Spec, io Stdio) (pid int, terminal *os.File, err error)
	Start(id string) error
	// FinishStart completes a Start during which the keeper ended; running is false
	// when the process has ended by now, with InitFailed if it never ran its command.
	FinishStart(id string, pid int) (running bool, err error)
	Exec(id string, p *specs.Process, io Stdio) (pid int, terminal *os.File, err error)
	Update(id string, r *specs.LinuxResources) error
	// Delete removes what Prepare made but for the cgroup; no process is left by then.
	Delete(id string) error
}

// InitFailed is the exit code of a process that could not become its command
// (libcontainer's).
const InitFailed = 255

// Config of a keeper.
type Config struct {
	Run     string // the run folder, R
	Pause   string // path of the pause program
	Pool    int    // blank sandboxes in stock
	Cgroup  string // the keeper's own; "" = the one that it was started in
	Version string
	Runtime Runtime
	Log     *slog.Logger
	// Handover is what an older keeper left to this process; nil at a fresh start.
	Handover *Handover
	// Args and Env with which Upgrade executes the next program.
	Args, Env []string
}

// Server is a keeper. Make it with New, then Run it.
type Server struct {
	cfg     Config
	store   store
	cgroups cgroup.Hierarchies
	pause   *sandbox.Program
	started time.Time
	lock    *os.File
	pool    *pool
	events  *broadcaster
	memory  *idleCollector
	starts  *gate

	listener *net.UnixListener
	conns    *connections

	mu         sync.Mutex
	sandboxes  map[string]*sandboxEntry
	containers map[string]*containerEntry
	watched    map[int]*process.Process // by PID: those that somebody waits for

	// watchers are the goroutines that wait for processes.
	watchers sync.WaitGroup
	// preparing are the goroutines that bring containers to their start.
	preparing sync.WaitGroup
	stopped   chan struct{} // closed by shutdown
	stopOnce  sync.Once
}

// ErrRunning: another keeper serves this run folder.
var ErrRunning = errors.New("another keeper runs")

// New takes the run folder, adopts what is in it and listens on the socket.
func New(cfg Config) (*Server, error) {
	s := &Server{
		cfg: cfg, store: store{filepath.Join(cfg.Run, "keeper")}, started: time.Now(),
		sandboxes: map[string]*sandboxEntry{}, containers: map[string]*containerEntry{}, watched: map[int]*process.Process{},
		events: newBroadcaster(), memory: newIdleCollector(cfg.Log), starts: newGate(), stopped: make(chan struct{}),
	}
	s.conns = newConnections(s)
	for _, dir := range []string{"sandboxes", "containers", "pool"} {
		if err := os.MkdirAll(filepath.Join(s.store.dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("run folder: %w", err)
		}
	}
	var err error
	if s.cgroups, err = cgroup.Detect(); err != nil {
		return nil, err
	}
	if s.pause, err = sandbox.OpenProgram(cfg.Pause); err != nil {
		return nil, err
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if cfg.Cgroup != "" && cfg.Handover == nil {
		if err := s.cgroups.Join(cfg.Cgroup, os.Getpid()); err != nil {
			return nil, err
		}
	}
	s.pool = newPool(s)
	s.pool.killStock()
	// Subscribers first: what adoption finds out is news to them.
	s.conns.resumeEvents(cfg.Handover)
	s.adopt(cfg.Handover)
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.conns.resume(cfg.Handover)
	return s, nil
}

// takeLock makes this the one keeper of the run folder. The lock of an upgrade
// comes with it.
func (s *Server) takeLock() error {
	if s.cfg.Handover != nil {
		s.lock = os.NewFile(uintptr(s.cfg.Handover.Lock), "lock")
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.store.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	// A keeper that was killed while it started a process has left it the lock, until
	// that process executes its program.
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Since(began) > lockPatience {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%s: %w", s.cfg.Run, ErrRunning)
		}
		return fmt.Errorf("lock: %w", err)
	}
	s.lock = f
	return nil
}

// lockPatience is how long a lock may be held by what a dead keeper was starting.
const lockPatience = 2 * time.Second

func (s *Server) listen() error {
	if h := s.cfg.Handover; h != nil {
		f := os.NewFile(uintptr(h.Listener), "listener")
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("listener of the old keeper: %w", err)
		}
		s.listener = l.(*net.UnixListener)
		s.listener.SetUnlinkOnClose(true)
		return nil
	}
	path := keeper.Socket(s.cfg.Run)
	_ = os.Remove(path) // of a dead keeper: we hold the lock
	// The mode must be right from the first moment on.
	old := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.listener = l
	return nil
}

// Run serves until Shutdown or until ctx ends; in the latter case everything
// goes on running without a keeper.
func (s *Server) Run(ctx context.Context) error {
	if err := process.ReapOrphans(ctx, s.isWatched); err != nil {
		return err
	}
	s.pool.refillLater()
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	for {
		u, err := s.listener.AcceptUnix()
		if err == nil {
			s.conns.serve(u)
			continue
		}
		select {
		case <-s.stopped:
			// The connections stay open: their end, with the process, tells
			// whoever asked for it that the lock is free too.
			s.pool.close()
			s.watchers.Wait()
			return nil
		default:
		}
		if ctx.Err() != nil {
			s.pool.close()
			s.conns.closeAll()
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept: %w", err)
		}
		// Out of descriptors, say: the containers must not suffer.
		s.cfg.Log.Error("accept connection", "err", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// watch begins to wait for a process; ended is called once, when it has ended.
func (s *Server) watch(p *process.Process, ended func(process.Exit)) {
	s.mu.Lock()
	s.watched[p.PID] = p
	s.mu.Unlock()
	s.watchers.Go(func() {
		exit, err := p.Wait()
		if errors.Is(err, process.ErrStopped) {
			return
		}
		if err != nil {
			s.cfg.Log.Error("wait for process", "pid", p.PID, "err", err)
		}
		s.mu.Lock()
		delete(s.watched, p.PID)
		s.mu.Unlock()
		ended(exit)
		s.memory.touch()
	})
}

func (s *Server) isWatched(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.watched[pid]
	return ok
}

func (s *Server) version() keeper.Version {
	return keeper.Version{Version: s.cfg.Version, Protocol: keeper.Protocol, PID: os.Getpid(), Started: s.started}
}
