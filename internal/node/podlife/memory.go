package podlife

import (
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Memory is what must survive a restart of the agent and can't be seen in the
// runtime. It is small, and JSON.
type Memory struct {
	Phase     Phase     `json:"phase,omitempty"`
	StartTime time.Time `json:"startTime,omitzero"` // when the node first saw the pod
	Admitted  bool      `json:"admitted,omitempty"`
	Stop      *Stop     `json:"stop,omitempty"`
	End       *End      `json:"end,omitempty"`

	// Initialized is the sandbox in which all init containers were done.
	Initialized string `json:"initialized,omitempty"`
	// StoppedSandboxes have been stopped by us: nothing is left to release.
	StoppedSandboxes []string `json:"stoppedSandboxes,omitempty"`
	// LostSandbox is the last one whose loss was told.
	LostSandbox string `json:"lostSandbox,omitempty"`

	// Allocated is what the node has granted the pod; Sized is what the pod's
	// cgroup was last set by. Both nil before their time.
	Allocated *Allocation `json:"allocated,omitempty"`
	Sized     *Allocation `json:"sized,omitempty"`
	// ResizePending: the spec asks for more than was granted. Resizing: what was
	// granted is not in force yet.
	ResizePending *Resize `json:"resizePending,omitempty"`
	Resizing      *Resize `json:"resizing,omitempty"`

	RestartAll *RestartAll                `json:"restartAll,omitempty"`
	Deleted    bool                       `json:"deleted,omitempty"` // the API took the deletion
	DataGone   bool                       `json:"dataGone,omitempty"`
	Containers map[string]ContainerMemory `json:"containers,omitempty"`
	Volumes    map[string]ImageMemory     `json:"volumes,omitempty"` // image volumes
	Retries    map[string]Retry           `json:"retries,omitempty"` // by action ID
}

// Resize is one of the two conditions of a pod whose resources change.
type Resize struct {
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	Generation int64     `json:"generation,omitempty"` // of the spec that asks for it
	Since      time.Time `json:"since"`
}

// Anew is the memory of a static pod after its agent has started anew. One that
// the node had ended for its own sake, before it went down, runs again: there is
// nobody else who would make another.
func (m Memory) Anew() Memory {
	if m.Stop == nil || m.Stop.Kind != StopEvicted {
		return m
	}
	fresh := Memory{Containers: map[string]ContainerMemory{}}
	for name, c := range m.Containers {
		fresh.Containers[name] = ContainerMemory{Last: c.Last, NextAttempt: c.NextAttempt}
	}
	return fresh
}

// Stop is a stop that was accepted. It is never taken back.
type Stop struct {
	Kind            StopKind  `json:"kind"`
	Delete          bool      `json:"delete,omitempty"` // the object is to go as well
	Gone            bool      `json:"gone,omitempty"`   // it is gone
	Reason, Message string    `json:",omitempty"`
	Since           time.Time `json:"since"`
	Deadline        time.Time `json:"deadline"` // only ever comes nearer
}

// End is the pod's terminal phase; it never changes.
type End struct {
	Phase           v1.PodPhase `json:"phase"`
	Reason, Message string      `json:",omitempty"`
}

// RestartAll is a restart of all containers in place, by a rule of Trigger.
type RestartAll struct {
	Trigger string    `json:"trigger"`
	Code    int32     `json:"code"`
	Since   time.Time `json:"since"`
}

// ContainerMemory is what is remembered of one container of the spec.
type ContainerMemory struct {
	// Last is the newest instance that was seen: the record of its end when the
	// runtime has none any more.
	Last *Instance `json:"last,omitempty"`
	// NextAttempt is one more than any that was ever begun.
	NextAttempt int         `json:"nextAttempt,omitempty"`
	BackOff     BackOff     `json:"backOff,omitzero"`
	Image       ImageMemory `json:"image,omitzero"`
	// StartFailure is why the last start failed, cleared by the next that does not.
	StartFailure *Waiting `json:"startFailure,omitempty"`
	StartRetry   Retry    `json:"startRetry,omitzero"`
	Hook         *Hook    `json:"hook,omitempty"` // postStart of the newest instance
	Kill         *Kill    `json:"kill,omitempty"`
	Probe        Probe    `json:"probe,omitzero"`
	// Waiting is what the container's status shows while it does not run.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Resources in force, as last given to the runtime.
	Resources *v1.ResourceRequirements `json:"resources,omitempty"`
	Again     Again                    `json:"again,omitzero"`
	// Reset: all containers were restarted in place at this instance.
	Reset *Instance `json:"reset,omitempty"`
}

// Again is an instance that we ended, and why, to put another in its place,
// whatever the restart policy says of how it ended.
type Again struct {
	ID  string `json:"id,omitempty"`
	Why string `json:"why,omitempty"`
}

// Replacing tells whether one run of a container is about to follow another: it was
// made and does not run yet, or is not there yet, and we ended the one before it.
func (m Memory) Replacing() bool {
	if m.Stop != nil {
		return false
	}
	for _, c := range m.Containers {
		if c.Last == nil || c.StartFailure != nil {
			continue
		}
		made := c.Last.State == Created && c.Last.Attempt > 0
		ended := c.Last.State == Exited && c.Last.ID == c.Again.ID && c.Waiting == nil
		if made || ended {
			return true
		}
	}
	return false
}

// Waiting is a reason and message of a container's waiting state.
type Waiting struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"` // for whoever asks why
}

// BackOff of a container's restarts.
type BackOff struct {
	For   string        `json:"for,omitempty"`   // the ended instance that Due is about
	Wait  time.Duration `json:"wait,omitempty"`  // from its end
	Due   time.Time     `json:"due,omitzero"`    // when it may be restarted
	Delay time.Duration `json:"delay,omitempty"` // the next Wait
	Hash  string        `json:"hash,omitempty"`  // a changed container starts afresh
}

// end of the instance that the back-off is about.
func (b BackOff) end() time.Time { return b.Due.Add(-b.Wait) }

// ImageMemory is how far an image has come.
type ImageMemory struct {
	Ref      string    `json:"ref,omitempty"`     // ready to be used by
	Attempt  int       `json:"attempt,omitempty"` // this instance only: every start asks the pull policy
	Image    string    `json:"image,omitempty"`   // of this name
	Failures int       `json:"failures,omitempty"`
	FailedAt time.Time `json:"failedAt,omitzero"`
	RetryAt  time.Time `json:"retryAt,omitzero"`
	Error    *Waiting  `json:"error,omitempty"`
	BackOff  bool      `json:"backOff,omitempty"` // the back-off was told
}

// Hook is the postStart hook of one instance.
type Hook struct {
	Attempt int  `json:"attempt"`
	Done    bool `json:"done,omitempty"`
	Failed  bool `json:"failed,omitempty"`
}

// Kill is the end of one instance that we want.
type Kill struct {
	ID       string    `json:"id"`
	Why      string    `json:"why"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`
	HookDone bool      `json:"hookDone,omitempty"`
	// KillAt is when the runtime was told to send KILL; zero: not told yet.
	KillAt time.Time `json:"killAt,omitzero"`
	// Tries makes the IDs of repeated stops (with less grace) distinct.
	Tries int `json:"tries,omitempty"`
}

// Probe verdicts on one instance.
type Probe struct {
	ID        string     `json:"id,omitempty"`
	Startup   ProbeState `json:"startup,omitzero"`
	Liveness  ProbeState `json:"liveness,omitzero"`
	Readiness ProbeState `json:"readiness,omitzero"`
}

// ProbeState is a probe's verdict with its last output.
type ProbeState struct {
	Verdict   Verdict   `json:"verdict,omitempty"`
	Output    string    `json:"output,omitempty"`
	Run       int       `json:"run,omitempty"`
	Threshold int       `json:"threshold,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// Retry is when a failed action is tried again.
type Retry struct {
	Failures int       `json:"failures"`
	At       time.Time `json:"at"`
	Message  string    `json:"message,omitempty"`
	Hint     string    `json:"hint,omitempty"`
}

// Clone copies the memory deeply enough to be changed: maps and what Decide
// changes through pointers.
func (m Memory) Clone() Memory {
	out := m
	out.Stop = clonePtr(m.Stop)
	out.End = clonePtr(m.End)
	out.RestartAll = clonePtr(m.RestartAll)
	out.ResizePending, out.Resizing = clonePtr(m.ResizePending), clonePtr(m.Resizing)
	out.StoppedSandboxes = append([]string(nil), m.StoppedSandboxes...)
	out.Containers = make(map[string]ContainerMemory, len(m.Containers))
	for name, c := range m.Containers {
		c.Last, c.Reset = clonePtr(c.Last), clonePtr(c.Reset)
		c.StartFailure, c.Waiting = clonePtr(c.StartFailure), clonePtr(c.Waiting)
		c.Hook, c.Kill = clonePtr(c.Hook), clonePtr(c.Kill)
		c.Image.Error = clonePtr(c.Image.Error)
		out.Containers[name] = c
	}
	out.Volumes = make(map[string]ImageMemory, len(m.Volumes))
	for name, v := range m.Volumes {
		v.Error = clonePtr(v.Error)
		out.Volumes[name] = v
	}
	out.Retries = make(map[string]Retry, len(m.Retries))
	for id, r := range m.Retries {
		out.Retries[id] = r
	}
	return out
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Encode and DecodeMemory are the journal's format.
func (m Memory) Encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode pod memory: %w", err)
	}
	return b, nil
}

// DecodeMemory reads what Encode wrote.
func DecodeMemory(b []byte) (Memory, error) {
	var m Memory
	if err := json.Unmarshal(b, &m); err != nil {
		return Memory{}, fmt.Errorf("decode pod memory: %w", err)
	}
	return m, nil
}
