package podlife

import "time"

// admit takes the node's verdict, once: a pod that was admitted stays so when the
// node's picture of itself changes.
func (d *decision) admit() {
	if d.mem.Admitted || d.mem.Stop != nil {
		return
	}
	a := d.in.Want.Admission
	switch {
	case a == nil:
		d.wait("", "admission by the node", time.Time{})
	case a.Admitted:
		d.mem.Admitted, d.mem.Allocated = true, AllocationOf(d.in.Pod)
		d.say("", "Admitted", "the node has room, and its labels and taints allow it")
	default:
		d.event(true, "", a.Reason, "%s", a.Message)
		d.beginStop(StopRejected, a.Reason, "Pod was rejected: "+a.Message, 0, a.Message)
	}
}
