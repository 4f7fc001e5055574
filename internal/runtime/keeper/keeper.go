package keeper

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Keeper is what a keeper can do. *Client does it over the socket, the fake in
// memory; a consumer that needs less declares a smaller interface.
//
// All calls are safe for concurrent use. Stop and Remove calls are idempotent:
// what is not there is removed already. A call that was cut off by its context
// may or may not have taken effect; ask for the status.
type Keeper interface {
	// StartSandbox makes the namespaces and the pause process. ErrExists when
	// the ID is taken.
	StartSandbox(ctx context.Context, s Sandbox) (SandboxStatus, error)
	// StopSandbox kills pause and every container that still runs in the
	// sandbox. Its namespaces stay until it is removed, so that the network
	// can be detached in between.
	StopSandbox(ctx context.Context, id string) error
	// RemoveSandbox stops the sandbox, removes its containers and everything
	// that the keeper made for it.
	RemoveSandbox(ctx context.Context, id string) error
	Sandbox(ctx context.Context, id string) (SandboxStatus, error)
	Sandboxes(ctx context.Context) ([]SandboxStatus, error)

	// Create records the container and begins to prepare its process. Whatever
	// is wrong with that is told by Start, as a *StartError.
	Create(ctx context.Context, c Container) (ContainerStatus, error)
	// Start lets the process run. After a *StartError the container is Exited
	// with StartExitCode.
	Start(ctx context.Context, id string) (ContainerStatus, error)
	// Run is Create and Start in one go.
	Run(ctx context.Context, c Container) (ContainerStatus, error)
	// Signal sends a signal to the container's init process, or to all of its
	// processes. ErrNotRunning when there is none.
	Signal(ctx context.Context, id string, sig syscall.Signal, all bool) error
	// Wait returns when the container has exited, with its last status.
	Wait(ctx context.Context, id string) (ContainerStatus, error)
	// Remove kills the container if it still runs, waits for its end and
	// forgets it. The log file stays; so does the root file system, which is
	// the caller's.
	Remove(ctx context.Context, id string) error
	Container(ctx context.Context, id string) (ContainerStatus, error)
	Containers(ctx context.Context) ([]ContainerStatus, error)

	// Events tells of every change from the moment it returns. The channel is
	// closed when ctx ends, the keeper goes away or the reader is too slow:
	// subscribe again, then list.
	Events(ctx context.Context) (<-chan Event, error)

	// Exec starts one more process in a running container. It lives at most as
	// long as its session: Close kills it, and so does the end of the caller.
	Exec(ctx context.Context, e Exec) (ExecSession, error)
	// Attach joins the streams of the container's own process, from now on.
	Attach(ctx context.Context, id string) (AttachSession, error)
	// Resize sets the terminal size of a container with TTY.
	Resize(ctx context.Context, id string, size WindowSize) error
	// ReopenLog opens LogPath anew, after the caller moved the old file away.
	ReopenLog(ctx context.Context, id string) error

	// UpdateResources changes the limits of a running container; what is unset
	// in r stays as it is.
	UpdateResources(ctx context.Context, id string, r *specs.LinuxResources) error
	// Stats reads the cgroups of the containers and sandboxes named; an ID that
	// begins with "/" is a cgroup path (a pod's, say). No IDs = all containers.
	// IDs that are not there are left out.
	Stats(ctx context.Context, ids ...string) ([]Stats, error)

	// Version of the running keeper.
	Version(ctx context.Context) (Version, error)
	// Upgrade replaces the keeper's program by the one at path, in place: same
	// PID, same children, sessions go on.
	Upgrade(ctx context.Context, path string) error
	// Shutdown ends the keeper. With sandboxes or containers left it answers
	// ErrBusy, unless force is set: then everything is killed and removed.
	Shutdown(ctx context.Context, force bool) error

	Close() error
}

// WindowSize of a terminal, in characters.
type WindowSize struct{ Width, Height uint16 }

// ExitStatus of a process that was waited for.
type ExitStatus struct {
	Code   int // 0–255, 128+signal for a signal death
	Signal int // that ended it, 0 = none
	// OOMKilled: the kernel's OOM killer took a process of the container
	// between the start and the end of this one.
	OOMKilled bool
}

// ExecSession is one process that was started in a container by Exec.
type ExecSession interface {
	PID() int
	// Terminal is the master end of the process's terminal with TTY, else nil.
	// It is the caller's to close. Reading it fails with EIO at the end.
	Terminal() *os.File
	Resize(size WindowSize) error // an error without TTY
	Signal(sig syscall.Signal) error
	// Wait returns when the process has ended. It may be called once.
	Wait(ctx context.Context) (ExitStatus, error)
	// Close ends the session; a process that still runs is killed, with its
	// process group.
	Close() error
}

// AttachSession is a connection to the streams of a container's own process.
type AttachSession interface {
	// Stdin is nil for a container without Stdin. Closing it ends the
	// container's input if it was made with StdinOnce.
	Stdin() io.WriteCloser
	// Stdout and Stderr end when the container does. A reader that stands still
	// misses output (which the log has); it never holds up the container.
	Stdout() io.Reader
	Stderr() io.Reader // nil with TTY: one stream
	Resize(size WindowSize) error
	Close() error
}

// Stats of one cgroup. Counters are cumulative. A zero limit means none.
type Stats struct {
	ID     string // as asked for
	At     time.Time
	CPU    CPUStats
	Memory MemoryStats
	PIDs   uint64
	// PIDLimit as set on this cgroup.
	PIDLimit uint64
}

// CPUStats of one cgroup; durations in nanoseconds.
type CPUStats struct {
	Usage, User, System       uint64
	Periods, ThrottledPeriods uint64
	Throttled                 uint64
	Pressure                  *Pressure // cgroup v2 only
}

// MemoryStats of one cgroup, in bytes.
type MemoryStats struct {
	Usage      uint64
	WorkingSet uint64 // usage without the inactive part of the page cache
	RSS        uint64 // anonymous memory
	Cache      uint64
	Swap       uint64
	Limit      uint64
	// Faults are counts.
	PageFaults, MajorPageFaults uint64
	OOMKills                    uint64
	Pressure                    *Pressure // cgroup v2 only
}

// Pressure is how long tasks stood still for want of a resource (PSI).
type Pressure struct{ Some, Full PressureLine }

// PressureLine has shares of time in percent and a total in microseconds.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}

// Version of a keeper.
type Version struct {
	Version  string
	Protocol int
	PID      int
	Started  time.Time // of this program, so an upgrade moves it
}
