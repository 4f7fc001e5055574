package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Input is all that Decide knows.
type Input struct {
	Pod      *v1.Pod // read only; of the status only the phase is looked at
	Want     Want
	Observed Observed
	// InFlight are the actions that were begun and have no outcome yet, by ID.
	InFlight map[string]Action
	// Outcomes and Probes are what happened since the last call, oldest first.
	Outcomes []Outcome
	Probes   []ProbeResult
	Memory   Memory
	Policy   Policy
	Now      time.Time
}

// Want is what the pod's owner wants; the zero value is: run it.
type Want struct {
	Stop StopKind // "" = run
	// Reason and Message of the pod's status for kinds that end it as Failed.
	Reason, Message string
	Grace           time.Duration
	// Admission is the node's verdict on a pod that was not admitted yet.
	Admission *Admission
	// Resize is the node's verdict on resources other than those granted, if
	// AsksResize.
	Resize *Admission
}

// Admission tells whether the pod may run on this node.
type Admission struct {
	Admitted        bool
	Reason, Message string // of a rejection, like OutOfcpu
}

// StopKind is why a pod has to stop.
type StopKind string

const (
	StopDeleted   StopKind = "Deleted"   // deletionTimestamp is set: the object goes when all is released
	StopGone      StopKind = "Gone"      // the object is gone, or there never was one that we know
	StopEvicted   StopKind = "Evicted"   // by the node: pressure, shutdown, preemption
	StopRejected  StopKind = "Rejected"  // not admitted
	StopDeadline  StopKind = "Deadline"  // activeDeadlineSeconds
	StopCompleted StopKind = "Completed" // every container ended for good
	StopInit      StopKind = "InitFailed"
	StopTerminal  StopKind = "Terminal" // the API says Succeeded or Failed already
)

// Presence of a thing that can't always be told.
type Presence int

// The zero value is Unseen: neither there nor absent.
const (
	Unseen Presence = iota
	Absent
	Present
)

// Observed is what was seen of the pod on the node.
type Observed struct {
	Known     bool       // the runtime was seen at least once
	Sandboxes []Sandbox  // newest first
	Instances []Instance // of all containers, newest first
	Cgroup    Presence
	Volumes   Presence
}

// Sandbox is one sandbox of the pod.
type Sandbox struct {
	ID        string
	Attempt   uint32
	Ready     bool
	IPs       []string
	CreatedAt time.Time
}

// InstanceState is the state of one run of a container.
type InstanceState string

const (
	Created InstanceState = "created"
	Live    InstanceState = "running"
	Exited  InstanceState = "exited"
	Lost    InstanceState = "unknown" // the runtime can't tell
)

// Instance is one run of a container.
type Instance struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	SandboxID  string        `json:"sandbox,omitempty"`
	Attempt    int           `json:"attempt,omitempty"`
	State      InstanceState `json:"state"`
	CreatedAt  time.Time     `json:"createdAt,omitzero"`
	StartedAt  time.Time     `json:"startedAt,omitzero"`
	FinishedAt time.Time     `json:"finishedAt,omitzero"`
	ExitCode   int32         `json:"exitCode,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Message    string        `json:"message,omitempty"`
	Hash       string        `json:"hash,omitempty"` // of the container's spec, see HashContainer
	Image      string        `json:"image,omitempty"`
	ImageRef   string        `json:"imageRef,omitempty"`
	LogPath    string        `json:"logPath,omitempty"`

	User       *v1.ContainerUser        `json:"user,omitempty"`
	Resources  *v1.ResourceRequirements `json:"resources,omitempty"` // in force, as the runtime says
	StopSignal *v1.Signal               `json:"stopSignal,omitempty"`
}

// Alive tells whether the instance may have a process.
func (i Instance) Alive() bool { return i.State == Live || i.State == Lost }

// Policy are the node's settings that matter to a pod's life.
type Policy struct {
	// Restart back-off: the first restart is immediate, then Initial, doubled up
	// to Max, forgotten when a container ran longer than Reset.
	Initial, Max, Reset time.Duration
	// ImageInitial and ImageMax: the same for image pulls.
	ImageInitial, ImageMax time.Duration
	// ErrorShown is how long ErrImagePull is shown before ImagePullBackOff.
	ErrorShown time.Duration
	// RetryInitial and RetryMax: between tries of an action that failed.
	RetryInitial, RetryMax time.Duration
	// LastChance is what a container gets when its preStop hook or its turn used
	// up the grace period.
	LastChance time.Duration
	// KeepDead is the number of ended instances kept of each container.
	KeepDead int
}

// DefaultPolicy has the documented values of Kubernetes.
func DefaultPolicy() Policy {
	return Policy{
		Initial: 10 * time.Second, Max: 5 * time.Minute, Reset: 10 * time.Minute,
		ImageInitial: 10 * time.Second, ImageMax: 5 * time.Minute,
		ErrorShown:   3 * time.Second,
		RetryInitial: time.Second, RetryMax: 30 * time.Second,
		LastChance: 2 * time.Second,
		KeepDead:   1,
	}
}
