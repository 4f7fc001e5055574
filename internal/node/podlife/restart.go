package podlife

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/kit/pods"
)

// goesOn tells whether the ended container is to run again: because we ended it
// for that, or by its rules and policies.
func (d *decision) goesOn(v *view) bool {
	return v.replaced() || pods.ShouldRestart(v.spec, d.in.Pod.Spec.RestartPolicy, v.inst.ExitCode)
}

// restartable tells whether the policies let the container run again after some end.
func (d *decision) restartable(v *view) bool {
	return pods.RestartPolicy(v.spec, d.in.Pod.Spec.RestartPolicy) != v1.RestartPolicyNever
}

// policy names what decides about the restart of a container that ended.
func (d *decision) policy(v *view) string {
	c := v.spec
	if v.replaced() {
		return "ended by us: " + v.mem.Again.Why
	}
	if rule, ok := pods.RestartRule(c, v.inst.ExitCode); ok {
		return fmt.Sprintf("its restartPolicyRules: %s on %s %v", rule.Action, rule.ExitCodes.Operator, rule.ExitCodes.Values)
	}
	if c.RestartPolicy != nil {
		return "the container's restartPolicy " + string(*c.RestartPolicy)
	}
	return "restartPolicy " + string(d.in.Pod.Spec.RestartPolicy)
}

// again tells whether the ended container may start again now; if it must not
// yet, the wake-up is set.
func (d *decision) again(v *view) (why string, ok bool) {
	b := d.scheduleRestart(v)
	why = fmt.Sprintf("%s; %s", ended(v.inst), d.policy(v))
	if d.in.Now.Before(b.Due) {
		d.wait(v.spec.Name, fmt.Sprintf("back-off %s after %s", b.Wait, ended(v.inst)), b.Due)
		d.hint(endHint(v))
		return "", false
	}
	if b.Wait > 0 {
		why += fmt.Sprintf("; back-off %s is over", b.Wait)
	}
	return why, true
}

// scheduleRestart fixes, once for each ended instance, when the next may start.
// The first restart is immediate; after that the wait doubles, until a container
// ran long enough to be trusted again.
func (d *decision) scheduleRestart(v *view) BackOff {
	b := v.mem.BackOff
	if b.For == v.inst.ID {
		return b
	}
	end := v.inst.FinishedAt
	if end.IsZero() {
		end = d.in.Now
	}
	wait, next := d.nextWait(v, end)
	b = BackOff{For: v.inst.ID, Wait: wait, Due: end.Add(wait), Delay: next, Hash: backOffHash(v.spec)}
	v.mem.BackOff = b
	if d.in.Now.Before(b.Due) {
		d.event(true, v.spec.Name, "BackOff", "Back-off restarting failed container %s in pod %s", v.spec.Name, podName(d.in.Pod))
		d.say(v.spec.Name, "Back-off", fmt.Sprintf("%s; %s; wait %s until %s",
			ended(v.inst), d.policy(v), wait, b.Due.UTC().Format(time.TimeOnly)))
		d.tellBackground(v)
	}
	return b
}

// tellBackground: that a container restarts for ever without ever failing puzzles
// everybody who meets it first.
func (d *decision) tellBackground(v *view) {
	if v.role == Main && !v.replaced() && endedInBackground(v.inst) {
		d.event(false, v.spec.Name, "MainProcessEnded",
			"The main process ended by itself with exit code 0, and with it the container. If it put itself in the background: it must stay in the foreground.")
	}
}

// nextWait is how long to wait after this end, and after the next one.
func (d *decision) nextWait(v *view, end time.Time) (wait, next time.Duration) {
	b, p := v.mem.BackOff, d.in.Policy
	ours := v.replaced()
	switch {
	case ours && b.For == "":
		return 0, 0 // the first end of all, and not of its own doing
	case b.Delay == 0 || b.Hash != backOffHash(v.spec) || ranWell(v.inst, p.Reset):
		return 0, min(p.Initial, p.Max)
	case ours && end.Sub(b.end()) >= b.Delay:
		wait = 0 // it is the end before that counts, as of a container that we did not end
	default:
		wait = b.Delay
	}
	return wait, min(2*b.Delay, p.Max)
}

// ranWell: the instance ran so long that its failures before it don't count.
func ranWell(i *Instance, reset time.Duration) bool {
	return !i.StartedAt.IsZero() && i.FinishedAt.Sub(i.StartedAt) > reset
}

// backOffHash identifies what of a container, when changed, makes its past failures
// void: its image and resources.
func backOffHash(c *v1.Container) string {
	b, _ := json.Marshal(c.Resources) // quantities always marshal
	h := fnv.New32a()
	h.Write(b)
	return HashContainer(c) + "-" + strconv.FormatUint(uint64(h.Sum32()), 16)
}
