package podlife

import (
	"fmt"
	"sort"
	"time"
)

// fold takes what happened since the last call into memory.
func (d *decision) fold() {
	for _, o := range d.in.Outcomes {
		d.foldOutcome(o)
	}
	for _, r := range d.in.Probes {
		d.foldProbe(r)
	}
	d.forgetOldHooksAndKills()
}

func (d *decision) foldOutcome(o Outcome) {
	if o.Nudge {
		d.foldNudge()
		return
	}
	if o.Failed && o.Reason == Cancelled {
		return // by us, and we knew
	}
	a := o.Action
	switch a.Kind {
	case PullImage:
		d.foldPull(o)
		return
	case StartContainer:
		d.foldStart(o)
		return
	case RunHook:
		d.foldHook(o)
		return
	}
	if o.Failed {
		d.foldFailure(o)
		return
	}
	delete(d.mem.Retries, a.ID)
	switch a.Kind {
	case StopSandbox:
		if !d.wasStopped(a.SandboxID) {
			d.mem.StoppedSandboxes = append(d.mem.StoppedSandboxes, a.SandboxID)
		}
	case EnsureCgroup:
		if d.mem.Sized == nil {
			d.mem.Sized = d.mem.Allocated
		}
	case ResizePod:
		d.foldResized(a)
	case DeleteAPIObject:
		d.mem.Deleted = true
	case RemoveData:
		d.mem.DataGone = true
	}
}

// foldFailure is for the actions that are simply tried again.
func (d *decision) foldFailure(o Outcome) {
	r := d.mem.Retries[o.Action.ID]
	r.Failures++
	wait := backOff(d.in.Policy.RetryInitial, d.in.Policy.RetryMax, r.Failures)
	r.At, r.Message, r.Hint = d.in.Now.Add(wait), o.Message, o.Hint
	d.mem.Retries[o.Action.ID] = r
	d.say(subject(o.Action), string(o.Action.Kind)+" failed", o.Message)
	switch o.Action.Kind {
	case CreateSandbox:
		d.event(true, "", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", o.Message)
	case MountVolumes:
		msgs := o.Messages
		if len(msgs) == 0 {
			msgs = []string{o.Message}
		}
		for _, m := range msgs {
			d.event(true, "", "FailedMount", "%s", m)
		}
	case StopContainer, StopSandbox:
		d.event(true, "", "FailedKillPod", "error killing pod: %s", o.Message)
	case EnsureCgroup:
		d.event(true, "", "FailedCreatePodContainer", "unable to ensure pod container exists: %s", o.Message)
	case ResizePod:
		d.foldResizeFailed(o)
	}
}

// foldNudge: what something waited for may be there; waiting is over.
func (d *decision) foldNudge() {
	ids := make([]string, 0, len(d.mem.Retries))
	for id := range d.mem.Retries {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		r := d.mem.Retries[id]
		r.At = d.in.Now
		d.mem.Retries[id] = r
	}
	for _, v := range d.views {
		v.mem.StartRetry.At = time.Time{}
	}
}

func (d *decision) foldPull(o Outcome) {
	if o.Action.Volume != "" {
		m := d.mem.Volumes[o.Action.Volume]
		d.foldImage(&m, o, "")
		d.mem.Volumes[o.Action.Volume] = m
		return
	}
	v := d.view(o.Action.Container)
	if v == nil || v.spec.Image != o.Action.Image {
		return // the container changed meanwhile
	}
	d.foldImage(&v.mem.Image, o, v.spec.Name)
}

func (d *decision) foldImage(m *ImageMemory, o Outcome, container string) {
	if !o.Failed {
		*m = ImageMemory{Ref: o.ImageRef, Attempt: int(o.Action.Attempt), Image: o.Action.Image}
		if o.Pulled {
			d.event(false, container, "Pulled", "Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
				o.Action.Image, o.Took.Truncate(time.Millisecond), o.Waited.Truncate(time.Millisecond), o.ImageSize)
		} else {
			d.event(false, container, "Pulled", "Container image %q already present on machine and can be accessed by the pod", o.Action.Image)
		}
		return
	}
	m.Failures++
	m.Ref, m.Image, m.BackOff = "", o.Action.Image, false
	m.FailedAt = o.At
	m.RetryAt = d.in.Now.Add(backOff(d.in.Policy.ImageInitial, d.in.Policy.ImageMax, m.Failures))
	m.Error = &Waiting{Reason: o.Reason, Message: o.Message, Hint: o.Hint}
	d.say(container, "PullImage failed", fmt.Sprintf("%s: %s", o.Action.Image, o.Message))
	switch o.Reason {
	case "ErrImageNeverPull":
		d.event(true, container, "ErrImageNeverPull", "%s", o.Message)
	case "InvalidImageName", "ImageInspectError":
		d.event(true, container, "InspectFailed", "%s", o.Message)
	default:
		d.event(true, container, "Failed", "Failed to pull image %q: %s", o.Action.Image, o.Message)
	}
	d.event(true, container, "Failed", "Error: %s", o.Reason)
}

func (d *decision) foldStart(o Outcome) {
	v := d.view(o.Action.Container)
	if v == nil {
		return
	}
	if o.Created {
		d.event(false, v.spec.Name, "Created", "Container created")
	}
	if !o.Failed {
		v.mem.StartFailure, v.mem.StartRetry = nil, Retry{}
		d.event(false, v.spec.Name, "Started", "Container started")
		return
	}
	v.mem.StartFailure = &Waiting{Reason: o.Reason, Message: o.Message, Hint: o.Hint}
	v.mem.Image = ImageMemory{} // the pull policy is asked again
	r := &v.mem.StartRetry
	r.Failures++
	r.At = d.in.Now.Add(backOff(d.in.Policy.RetryInitial, d.in.Policy.RetryMax, r.Failures))
	d.event(true, v.spec.Name, "Failed", "Error: %s", o.Message)
	d.say(v.spec.Name, "StartContainer failed", o.Reason+": "+o.Message)
}

func (d *decision) foldHook(o Outcome) {
	v := d.view(o.Action.Container)
	if v == nil {
		return
	}
	if o.Action.Hook == PreStop {
		if v.mem.Kill != nil && v.mem.Kill.ID == o.Action.ContainerID {
			v.mem.Kill.HookDone = true
		}
		if o.Failed {
			d.event(true, v.spec.Name, "FailedPreStopHook", "PreStopHook failed")
			d.say(v.spec.Name, "preStop hook failed", o.Message)
		}
		return
	}
	if v.mem.Hook == nil || v.mem.Hook.Attempt != int(o.Action.Attempt) {
		return
	}
	v.mem.Hook.Done, v.mem.Hook.Failed = true, o.Failed
	if o.Failed {
		// The message stays out of the event: it may hold what the server answered.
		d.event(true, v.spec.Name, "FailedPostStartHook", "PostStartHook failed")
		v.mem.StartFailure = &Waiting{Reason: "PostStartHookError", Message: o.Message}
		d.say(v.spec.Name, "postStart hook failed", o.Message)
	}
}

func (d *decision) foldProbe(r ProbeResult) {
	v := d.view(r.Container)
	if v == nil || v.inst == nil || v.inst.ID != r.ContainerID {
		return // of an older instance
	}
	p := v.probe()
	p.ID = v.inst.ID
	state := ProbeState{Verdict: r.Verdict, Output: r.Output, Run: r.Run, Threshold: r.Threshold, At: r.At}
	var old ProbeState
	switch r.Kind {
	case Startup:
		old, p.Startup = p.Startup, state
	case Liveness:
		old, p.Liveness = p.Liveness, state
	case Readiness:
		old, p.Readiness = p.Readiness, state
	}
	v.mem.Probe = p
	switch {
	case r.Attempt == Failure:
		d.event(true, v.spec.Name, "Unhealthy", "%s probe failed: %s", r.Kind, r.Output)
	case r.Attempt == Unknown:
		d.event(true, v.spec.Name, "Unhealthy", "%s probe errored and resulted in unknown state: %s", r.Kind, r.Output)
	case r.Warning:
		d.event(true, v.spec.Name, "ProbeWarning", "%s probe warning: %s", r.Kind, r.Output)
	}
	if old.Verdict != r.Verdict {
		d.say(v.spec.Name, fmt.Sprintf("%s probe: %s", r.Kind, verdictWord(r.Verdict)),
			fmt.Sprintf("%d of %d: %s", r.Run, r.Threshold, r.Output))
	}
}

func verdictWord(v Verdict) string {
	if v == Unknown {
		return "unknown"
	}
	return string(v)
}

// forgetOldHooksAndKills drops what is about instances that have ended.
func (d *decision) forgetOldHooksAndKills() {
	for _, v := range d.views {
		if k := v.mem.Kill; k != nil && (v.inst == nil || v.inst.ID != k.ID || !v.alive()) {
			v.mem.Kill = nil
		}
	}
}

func (d *decision) view(name string) *view {
	for _, v := range d.views {
		if v.spec.Name == name {
			return v
		}
	}
	return nil
}

// backOff is the wait after the n-th failure in a row: initial, doubled up to most.
func backOff(initial, most time.Duration, n int) time.Duration {
	wait := initial
	for i := 1; i < n && wait < most; i++ {
		wait *= 2
	}
	return min(wait, most)
}
