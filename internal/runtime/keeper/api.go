// Package keeper is the small process that is the parent of every container of
// a node, its wire format, and the client that proa uses. See doc.go.
package keeper

import (
	"encoding/json"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Sandbox asks for the namespaces that a pod's containers share, and the pause
// process that holds them.
type Sandbox struct {
	ID       string
	Hostname string // set in the UTS namespace; unused with HostNetwork
	// Namespaces of the host that the pod keeps instead of getting its own.
	HostNetwork, HostIPC, HostPID bool
	// SharePID gives the pod one PID namespace with pause as PID 1.
	SharePID bool
	// Mappings of a pod user namespace (hostUsers: false); empty = host users.
	UIDMappings, GIDMappings []specs.LinuxIDMapping
	Sysctls                  map[string]string
	Cgroup                   string // path below each controller's root, like "/proa-1a2b/kubepods/besteffort/pod<uid>/<id>"
	ShmSize                  int64  // bytes; 0 = 64 MiB
	// Meta is the caller's own; the keeper stores it and gives it back.
	Meta json.RawMessage
}

// SandboxStatus is what the keeper knows of a sandbox.
type SandboxStatus struct {
	ID        string
	PID       int    // of pause; 0 once it ended
	NetNS     string // path that stays valid until the sandbox is removed; "" with HostNetwork
	IPCNS     string
	UTSNS     string
	PIDNS     string // only with SharePID
	UserNS    string // only with mappings
	Shm       string // directory of the pod's /dev/shm, mounted; "" with HostIPC
	Running   bool
	CreatedAt time.Time
	// FinishedAt: when pause was seen to have ended; zero while it runs.
	FinishedAt time.Time
	Cgroup     string
	Meta       json.RawMessage
}

// Container asks for one container. Spec is complete: namespaces name the
// sandbox's paths, Root.Path is mounted, cgroupsPath is set.
type Container struct {
	ID        string
	SandboxID string
	Spec      *specs.Spec
	LogPath   string // CRI log file; "" = discard
	Stdin     bool
	StdinOnce bool // close the container's stdin when the first attach client goes
	TTY       bool
	// Meta is the caller's own; the keeper stores it and gives it back.
	Meta json.RawMessage
}

// State of a container in the keeper.
type State string

// The life of a container: created → running → exited; removed is the absence of it.
const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
)

// ContainerStatus is what the keeper knows of a container; it is on disk before
// it is told to anybody.
type ContainerStatus struct {
	ID         string
	SandboxID  string
	State      State
	PID        int // host PID of the init process, 0 unless running
	CreatedAt  time.Time
	StartedAt  time.Time // zero until started, and in one killed before that
	FinishedAt time.Time // zero until exited
	// ExitCode is 0–255 (128+signal for a signal death); valid once exited and
	// ExitKnown. A container that ended while no keeper watched has ExitKnown false.
	ExitCode  int
	ExitKnown bool
	Signal    int // that ended it, 0 = none
	OOMKilled bool
	// StartError says why the process could not be started, in the words of a
	// container status; the exit code is then StartExitCode.
	StartError string
	LogPath    string
	Cgroup     string
	TTY, Stdin bool
	StdinOnce  bool
	Meta       json.RawMessage
}

// Event tells that something changed; read the status for what.
type Event struct {
	ContainerID string // one of the two is set
	SandboxID   string
	Type        string // one of the Event constants
	At          time.Time
}

// Types of events. A sandbox is "exited" when its pause ended.
const (
	EventCreated = "created"
	EventStarted = "started"
	EventExited  = "exited"
	EventOOM     = "oom" // the kernel killed a process of the container for its memory
	EventRemoved = "removed"
)

// Exec asks for one more process in a running container. The three files are
// handed to the process itself (descriptors passed over the socket), so bytes
// never pass through the keeper; nil = /dev/null. With TTY the client gets the
// terminal's master end back instead and the files are ignored.
type Exec struct {
	ContainerID           string
	Process               *specs.Process
	TTY                   bool
	Stdin, Stdout, Stderr *os.File
}
