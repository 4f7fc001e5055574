package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Output is what Decide decided.
type Output struct {
	Memory  Memory // to be persisted before the actions begin
	Phase   Phase
	Actions []Action // to be begun now, all at once
	Cancel  []string // IDs of actions in flight that have no use any more
	Events  []Event
	// WakeAt is when Decide must be called again if nothing happens before; zero:
	// only an observation, an outcome or a wish can change anything.
	WakeAt time.Time
	// Log has an entry for each action and each change of course, with its reason.
	Log []Entry
	// Waits is what the pod waits for at the moment, for the curious user.
	Waits []Wait
	// Forget: nothing of the pod is left, nor is its object.
	Forget bool
}

// Entry is one line of a pod's decision log.
type Entry struct {
	At      time.Time `json:"at"`
	Phase   Phase     `json:"phase"`
	Subject string    `json:"subject,omitempty"` // container, image or volume; "" = the pod
	What    string    `json:"what"`
	Why     string    `json:"why"`
}

// Wait is something that must happen before the pod goes on.
type Wait struct {
	Subject string    `json:"subject,omitempty"`
	For     string    `json:"for"`
	Until   time.Time `json:"until,omitzero"`
	// Hint is what would make it go on, where that is not plain.
	Hint string `json:"hint,omitempty"`
}

// Event goes to the API as an Event about the pod, or one of its containers.
type Event struct {
	Warning   bool
	Reason    string
	Message   string
	Container string
}

// Kind names an action.
type Kind string

// The kinds of action, in about the order of a pod's life. The network is
// attached by CreateSandbox and detached by StopSandbox, as the CRI has it.
const (
	EnsureCgroup    Kind = "EnsureCgroup"
	MountVolumes    Kind = "MountVolumes"
	CreateSandbox   Kind = "CreateSandbox"
	PullImage       Kind = "PullImage" // make sure that it is there, by the pull policy
	StartContainer  Kind = "StartContainer"
	RunHook         Kind = "RunHook"
	ResizePod       Kind = "ResizePod"
	StopContainer   Kind = "StopContainer"
	RemoveContainer Kind = "RemoveContainer"
	StopSandbox     Kind = "StopSandbox"
	RemoveSandbox   Kind = "RemoveSandbox"
	UnmountVolumes  Kind = "UnmountVolumes"
	RemoveCgroup    Kind = "RemoveCgroup"
	RemoveData      Kind = "RemoveData"
	DeleteAPIObject Kind = "DeleteAPIObject"
)

// HookName is one of the two lifecycle hooks.
type HookName string

const (
	PostStart HookName = "PostStart"
	PreStop   HookName = "PreStop"
)

// Action is plain data: what to do, to what, and why.
type Action struct {
	ID   string // the same for the same deed, so that it is not begun twice
	Kind Kind
	Why  string

	Container   string        // name in the spec
	ContainerID string        // of an instance that exists
	SandboxID   string        // to start in, stop, or remove
	Attempt     uint32        // of the sandbox or the instance to make
	Image       string        // to pull, as in the spec
	ImageRef    string        // to start, as the pull told
	Volume      string        // image volume to pull for
	Hook        HookName      // to run
	Grace       time.Duration // until KILL, or for the hook
	KeepLogs    bool          // RemoveContainer: they stay until the pod goes
	// Sized: EnsureCgroup sets the pod's limits by it, if given; ResizePod starts
	// from there and ends at Target.
	Sized, Target *Allocation
	Resizes       []Resizing // ResizePod: the containers that change
}

// Resizing is a running container whose resources are to become those of the spec.
type Resizing struct {
	Container, ContainerID string
	From                   v1.ResourceRequirements
}

// Cancelled is the Reason of an outcome of an action that was given up.
const Cancelled = "Cancelled"

// Outcome is what no observation could tell of an action that ended.
type Outcome struct {
	Action Action
	At     time.Time
	// Failed with Reason (a container state's waiting reason, where it has one)
	// and Message.
	Failed          bool
	Reason, Message string
	// Hint is what might help, for the user who asks why.
	Hint string
	// Messages are several failures at once (volumes), for one event each.
	Messages []string
	// Of PullImage.
	ImageRef  string
	Pulled    bool // false: it was there
	Took      time.Duration
	Waited    time.Duration
	ImageSize uint64
	// Of StartContainer: how far it came.
	Created, Started bool
	ContainerID      string
	// Nudge is not of an action: what a retry waits for may have changed.
	Nudge bool
}
