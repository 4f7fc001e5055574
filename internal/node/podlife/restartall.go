package podlife

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/kit/pods"
)

// restartAll carries out the rule RestartAllContainers: every container is killed
// and removed, then all start anew in the same sandbox, init containers first.
func (d *decision) restartAll() {
	if d.mem.Stop != nil || !d.mem.Admitted {
		return
	}
	if d.mem.RestartAll == nil && !d.wantRestartAll() {
		return
	}
	d.cancel(RunHook)
	gone := true
	for _, v := range d.views {
		if v.role == Ephemeral {
			continue // they are never restarted, nor do they belong to the pod's work
		}
		if v.alive() {
			gone = false
			d.kill(v, stopping(v, "all containers restart", d.in.Now))
			d.drive(v, true)
		}
		if d.busy(StartContainer, v.spec.Name) {
			gone = false
		}
	}
	if !gone {
		return
	}
	if d.removeAll() {
		return
	}
	for _, v := range d.views {
		if v.role != Ephemeral {
			*v.mem = ContainerMemory{NextAttempt: v.mem.NextAttempt, BackOff: v.mem.BackOff, Reset: v.mem.Last}
			v.inst, v.seen = nil, false
		}
	}
	d.mem.RestartAll, d.mem.Initialized = nil, ""
	d.say("", "All containers restart", "all were removed")
}

func (d *decision) wantRestartAll() bool {
	for _, v := range d.of(Init, Sidecar, Main) {
		if !v.exited() {
			continue
		}
		rule, ok := pods.RestartRule(v.spec, v.inst.ExitCode)
		if !ok || rule.Action != v1.ContainerRestartRuleActionRestartAllContainers {
			continue
		}
		if _, due := d.again(v); !due {
			return false
		}
		d.mem.RestartAll = &RestartAll{Trigger: v.spec.Name, Code: v.inst.ExitCode, Since: d.in.Now}
		d.say(v.spec.Name, "RestartAllContainers", fmt.Sprintf("%s; its restartPolicyRules say so", ended(v.inst)))
		return true
	}
	return false
}

// removeAll removes the records of all runs; false when none is left.
func (d *decision) removeAll() bool {
	left := false
	for _, inst := range d.in.Observed.Instances {
		v := d.view(inst.Name)
		if v == nil || v.role == Ephemeral {
			continue
		}
		left = true
		d.act(Action{
			ID: "remove:" + inst.ID, Kind: RemoveContainer, Container: inst.Name, ContainerID: inst.ID, KeepLogs: true,
			Why: "all containers restart",
		})
	}
	if left {
		d.wait("", "the removal of all containers, which restart", time.Time{})
	}
	return left
}
