package podlife

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// ShouldRestart tells whether a container that ended with this code is to run
// again: by the first of its own rules that matches, its own policy, the pod's.
func ShouldRestart(c *v1.Container, pod *v1.PodSpec, code int32) bool {
	if c.RestartPolicy != nil {
		if _, ok := matchRule(c, code); ok {
			return true // both actions, Restart and RestartAllContainers, do
		}
		return restarts(v1.RestartPolicy(*c.RestartPolicy), code)
	}
	return restarts(pod.RestartPolicy, code)
}

func restarts(p v1.RestartPolicy, code int32) bool {
	switch p {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

func matchRule(c *v1.Container, code int32) (v1.ContainerRestartRule, bool) {
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		in := false
		for _, v := range r.ExitCodes.Values {
			in = in || v == code
		}
		if in == (r.ExitCodes.Operator == v1.ContainerRestartRuleOnExitCodesOpIn) {
			return r, true
		}
	}
	return v1.ContainerRestartRule{}, false
}

// policy names what decides about the restart of a container that ended.
func (d *decision) policy(v *view) string {
	c := v.spec
	if rule, ok := matchRule(c, v.inst.ExitCode); ok && c.RestartPolicy != nil {
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
	wait, next := b.Delay, min(2*b.Delay, d.in.Policy.Max)
	if b.Delay == 0 || b.Hash != HashContainer(v.spec) || ranWell(v.inst, d.in.Policy.Reset) {
		wait, next = 0, min(d.in.Policy.Initial, d.in.Policy.Max)
	}
	end := v.inst.FinishedAt
	if end.IsZero() {
		end = d.in.Now
	}
	b = BackOff{For: v.inst.ID, Wait: wait, Due: end.Add(wait), Delay: next, Hash: HashContainer(v.spec)}
	v.mem.BackOff = b
	if d.in.Now.Before(b.Due) {
		d.event(true, v.spec.Name, "BackOff", "Back-off restarting failed container %s in pod %s", v.spec.Name, podName(d.in.Pod))
		d.say(v.spec.Name, "Back-off", fmt.Sprintf("%s; %s; wait %s until %s",
			ended(v.inst), d.policy(v), wait, b.Due.UTC().Format(time.TimeOnly)))
	}
	return b
}

// ranWell: the instance ran so long that its failures before it don't count.
func ranWell(i *Instance, reset time.Duration) bool {
	return !i.StartedAt.IsZero() && i.FinishedAt.Sub(i.StartedAt) > reset
}
