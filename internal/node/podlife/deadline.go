package podlife

import (
	"fmt"
	"time"
)

// enforceDeadline ends a pod that was active for longer than activeDeadlineSeconds.
func (d *decision) enforceDeadline() {
	s := d.in.Pod.Spec.ActiveDeadlineSeconds
	if s == nil || d.mem.Stop != nil {
		return
	}
	at := d.mem.StartTime.Add(time.Duration(*s) * time.Second)
	if d.in.Now.Before(at) {
		d.wake(at)
		return
	}
	const message = "Pod was active on the node longer than the specified deadline"
	d.event(false, "", "DeadlineExceeded", message)
	d.beginStop(StopDeadline, "DeadlineExceeded", message, d.grace(),
		fmt.Sprintf("activeDeadlineSeconds %d since %s is over", *s, d.mem.StartTime.UTC().Format(time.RFC3339)))
}
