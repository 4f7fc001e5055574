package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// acceptWant takes a wish to stop into memory, where it stays: later ones can
// only bring the deadline nearer and add the deletion of the object.
func (d *decision) acceptWant() {
	w := d.in.Want
	if w.Stop == "" {
		d.acceptTerminal()
		return
	}
	if d.mem.Stop == nil {
		d.beginStop(w.Stop, w.Reason, w.Message, w.Grace, "asked for: "+string(w.Stop))
	} else if at := d.in.Now.Add(w.Grace); at.Before(d.mem.Stop.Deadline) {
		d.say("", "Grace shortened", "to "+w.Grace.String())
		d.mem.Stop.Deadline = at
	}
	d.mem.Stop.Delete = d.mem.Stop.Delete || w.Stop == StopDeleted
	d.mem.Stop.Gone = d.mem.Stop.Gone || w.Stop == StopGone
}

// acceptTerminal: who set the API's phase to its end (us, before our memory was
// lost, or a controller) ended the pod. Of a static pod the API has but a picture.
func (d *decision) acceptTerminal() {
	st := d.in.Pod.Status
	if d.mem.Stop != nil || IsStatic(d.in.Pod) || (st.Phase != v1.PodSucceeded && st.Phase != v1.PodFailed) {
		return
	}
	d.mem.End = &End{Phase: st.Phase, Reason: st.Reason, Message: st.Message}
	d.beginStop(StopTerminal, st.Reason, st.Message, d.grace(), "the API has the pod as "+string(st.Phase))
}

func (d *decision) beginStop(kind StopKind, reason, message string, grace time.Duration, why string) {
	d.mem.Stop = &Stop{
		Kind: kind, Reason: reason, Message: message,
		Since: d.in.Now, Deadline: d.in.Now.Add(grace),
	}
	d.mem.RestartAll = nil
	d.say("", "Stop", why)
}

// grace is the pod's own termination grace period.
func (d *decision) grace() time.Duration {
	if s := d.in.Pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(max(*s, 0)) * time.Second
	}
	return 30 * time.Second
}
