package podlife

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Decide says what to do next for one pod. The same input always gives the same
// output.
func Decide(in Input) Output {
	d := &decision{in: in, mem: in.Memory.Clone()}
	d.run()
	slices.Sort(d.out.Cancel)
	d.out.Cancel = slices.Compact(d.out.Cancel)
	d.out.Memory = d.mem
	d.out.Phase = d.mem.Phase
	return d.out
}

// decision is one call of Decide in the making.
type decision struct {
	in    Input
	mem   Memory
	out   Output
	views []*view
}

func (d *decision) run() {
	if d.mem.StartTime.IsZero() {
		d.mem.StartTime = d.in.Now
		if t := d.in.Pod.Status.StartTime; t != nil {
			d.mem.StartTime = t.Time
		}
	}
	if !d.in.Observed.Known {
		d.wait("", "the first look at the runtime", time.Time{})
		return
	}
	d.allocate()
	d.look()
	d.fold()
	d.acceptWant()
	d.admit()
	d.enforceDeadline()
	d.restartAll()
	d.complete()
	switch {
	case d.mem.Stop != nil:
		d.stop()
		if d.stopped() {
			d.release()
		}
	case d.mem.Admitted && d.mem.RestartAll == nil:
		d.prepare()
		d.ephemeral()
		if d.initialize() {
			d.containers()
		}
		d.resize()
	}
	d.collectGarbage()
	d.setWaiting()
	d.mem.Phase = d.phase()
	d.remember()
}

// phase reads the pod's phase off what the steps found.
func (d *decision) phase() Phase {
	sb := d.sandbox()
	switch {
	case d.out.Forget:
		return Done
	case d.mem.Stop != nil && !d.stopped():
		return Stopping
	case d.mem.Stop != nil && !d.released():
		return Releasing
	case d.mem.Stop != nil:
		return Done
	case !d.mem.Admitted:
		return Admitting
	case sb == nil || d.in.Observed.Volumes != Present:
		return Preparing
	case d.mem.Initialized != sb.ID:
		return Initializing
	}
	return Running
}

// act asks for an action, unless it is under way or must wait for its retry.
func (d *decision) act(a Action) {
	if _, busy := d.in.InFlight[a.ID]; busy {
		return
	}
	if r, ok := d.mem.Retries[a.ID]; ok && r.At.After(d.in.Now) {
		d.wait(a.Container, fmt.Sprintf("another try of %s, which failed: %s", a.Kind, r.Message), r.At)
		d.hint(r.Hint)
		return
	}
	for _, other := range d.out.Actions {
		if other.ID == a.ID {
			return
		}
	}
	d.out.Actions = append(d.out.Actions, a)
	d.say(subject(a), string(a.Kind), a.Why)
}

func subject(a Action) string {
	if a.Container != "" {
		return a.Container
	}
	return a.Volume
}

// busy tells whether an action of this kind is under way (for this container, if named).
func (d *decision) busy(kind Kind, container string) bool {
	for _, a := range d.in.InFlight {
		if a.Kind == kind && (container == "" || a.Container == container) {
			return true
		}
	}
	for _, a := range d.out.Actions {
		if a.Kind == kind && (container == "" || a.Container == container) {
			return true
		}
	}
	return false
}

// cancel gives up all actions of a kind that are under way.
func (d *decision) cancel(kinds ...Kind) {
	for _, kind := range kinds {
		for id, a := range d.in.InFlight {
			if a.Kind == kind {
				d.out.Cancel = append(d.out.Cancel, id)
			}
		}
	}
}

func (d *decision) say(subject, what, why string) {
	d.out.Log = append(d.out.Log, Entry{At: d.in.Now, Phase: d.mem.Phase, Subject: subject, What: what, Why: why})
}

func (d *decision) event(warning bool, container, reason, format string, args ...any) {
	d.out.Events = append(d.out.Events, Event{
		Warning: warning, Container: container, Reason: reason, Message: fmt.Sprintf(format, args...),
	})
}

// wait notes what is waited for; a time means: wake then.
func (d *decision) wait(subject, what string, until time.Time) {
	d.out.Waits = append(d.out.Waits, Wait{Subject: subject, For: what, Until: until})
	d.wake(until)
}

// hint says of the last wait what would make it go on.
func (d *decision) hint(text string) { d.out.Waits[len(d.out.Waits)-1].Hint = text }

func (d *decision) wake(at time.Time) {
	if at.IsZero() {
		return
	}
	if d.out.WakeAt.IsZero() || at.Before(d.out.WakeAt) {
		d.out.WakeAt = at
	}
}

// podName is the pod as the kubelet's messages have it.
func podName(pod *v1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}
