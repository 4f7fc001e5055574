package podlife

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// complete notices that the pod has nothing left to do: an init container failed
// for good, or every main container ended for good.
func (d *decision) complete() {
	if d.mem.Stop != nil || !d.mem.Admitted || d.mem.RestartAll != nil {
		return
	}
	if v := d.failedInit(); v != nil {
		d.beginStop(StopInit, "", "", d.grace(), fmt.Sprintf("init container %s: %s; %s", v.spec.Name, ended(v.inst), d.policy(v)))
		return
	}
	lost := d.sandbox() == nil && d.ranMain()
	for _, v := range d.of(Main) {
		switch {
		case v.exited() && !d.goesOn(v):
		case v.inst == nil && lost && d.in.Pod.Spec.RestartPolicy == v1.RestartPolicyNever && !d.busy(StartContainer, v.spec.Name):
			// The sandbox is gone, and there will be no second one.
		default:
			return
		}
	}
	d.beginStop(StopCompleted, "", "", d.grace(), "every container has ended and none is to run again")
}

// failedInit is an init container that failed and is not to be tried again.
func (d *decision) failedInit() *view {
	if d.ranMain() {
		return nil
	}
	for _, v := range d.of(Init) {
		if v.exited() && v.inst.ExitCode != 0 && !d.goesOn(v) {
			return v
		}
	}
	return nil
}

func (d *decision) ranMain() bool {
	for _, v := range d.of(Main) {
		if v.inst != nil {
			return true
		}
	}
	return false
}

// end is the terminal phase of a pod whose processes have all ended: Succeeded if
// every main container ended well. One that never got to run has failed, so that
// whoever counts pods (a Job) is never left with one that is neither.
func (d *decision) end() *End {
	switch d.mem.Stop.Kind {
	case StopRejected, StopEvicted, StopDeadline:
		return &End{Phase: v1.PodFailed, Reason: d.mem.Stop.Reason, Message: d.mem.Stop.Message}
	case StopInit:
		return &End{Phase: v1.PodFailed}
	}
	for _, v := range d.of(Main) {
		if !v.exited() || v.inst.ExitCode != 0 {
			return &End{Phase: v1.PodFailed}
		}
	}
	return &End{Phase: v1.PodSucceeded}
}
