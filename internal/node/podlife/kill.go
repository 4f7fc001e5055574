package podlife

import (
	"fmt"
	"time"
)

// ending is how and why an instance is to end.
type ending struct {
	message  string // of the event
	why      string // in the decision log
	deadline time.Time
	// again: another instance comes in its place, whatever the restart policy says
	// of how this one ends.
	again bool
}

// kill notes that the instance is to end by the deadline. Once noted, only the
// deadline can change, and only to come nearer.
func (d *decision) kill(v *view, e ending) {
	k := v.mem.Kill
	if k == nil {
		v.mem.Kill = &Kill{ID: v.inst.ID, Why: e.why, Since: d.in.Now, Deadline: e.deadline}
		if e.again {
			v.mem.Again = Again{ID: v.inst.ID, Why: e.why}
		}
		d.event(false, v.spec.Name, "Killing", "%s", e.message)
		return
	}
	if e.deadline.Before(k.Deadline) {
		k.Deadline = e.deadline
	}
}

// drive carries a kill on: preStop hook, then its turn, then TERM, and KILL when
// the grace period, which counts from the start of the hook, is over.
func (d *decision) drive(v *view, turn bool) {
	k := v.mem.Kill
	if k == nil || !v.alive() {
		return
	}
	left := k.Deadline.Sub(d.in.Now)
	if preStop(v.spec) != nil && !k.HookDone && k.KillAt.IsZero() && v.running() {
		if left > 0 {
			d.wait(v.spec.Name, "its preStop hook", k.Deadline)
			d.hint("when the grace period is over, it is ended all the same")
			d.act(Action{
				ID: "prestop:" + k.ID, Kind: RunHook, Hook: PreStop, Container: v.spec.Name, ContainerID: k.ID,
				Grace: left, Why: k.Why,
			})
			return
		}
		d.giveUpHook(v)
	}
	if !turn && left > 0 {
		d.wait(v.spec.Name, "the containers that end before the sidecar", k.Deadline)
		return
	}
	if left <= 0 || (k.HookDone && left < d.in.Policy.LastChance) {
		left = d.in.Policy.LastChance
	}
	d.stopBy(v, d.in.Now.Add(left))
}

func (d *decision) giveUpHook(v *view) {
	v.mem.Kill.HookDone = true
	id := "prestop:" + v.mem.Kill.ID
	if _, running := d.in.InFlight[id]; running {
		d.out.Cancel = append(d.out.Cancel, id)
		d.say(v.spec.Name, "preStop hook given up", "the grace period is used up")
	}
}

// stopBy tells the runtime when to send KILL, again only if it is to be sooner.
func (d *decision) stopBy(v *view, at time.Time) {
	k := v.mem.Kill
	const slack = 100 * time.Millisecond // a stop with hardly less grace is the same
	if !k.KillAt.IsZero() && at.Before(k.KillAt.Add(-slack)) {
		k.Tries++
		k.KillAt = at
	}
	if k.KillAt.IsZero() {
		k.KillAt = at
	}
	d.act(Action{
		ID: fmt.Sprintf("stop:%s:%d", k.ID, k.Tries), Kind: StopContainer, Container: v.spec.Name, ContainerID: k.ID,
		Grace: max(k.KillAt.Sub(d.in.Now), 0), Why: k.Why,
	})
	d.wait(v.spec.Name, "the container to end: "+k.Why, time.Time{})
	d.hint("it was told to end, and will be killed at " + k.KillAt.UTC().Format(time.TimeOnly))
}
