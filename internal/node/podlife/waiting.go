package podlife

import "fmt"

// setWaiting works out what each container that does not run shows meanwhile.
func (d *decision) setWaiting() {
	for _, v := range d.views {
		v.mem.Waiting = d.waitingOf(v)
	}
}

func (d *decision) waitingOf(v *view) *Waiting {
	if v.alive() {
		return nil
	}
	stopping := d.mem.Stop != nil
	ended := v.exited() && (stopping || v.role == Ephemeral || !d.goesOn(v))
	if ended {
		return nil
	}
	if w := v.mem.Image.waiting(); w != nil {
		return w
	}
	if w := d.volumeWaiting(v.spec); w != nil {
		return w
	}
	b := v.mem.BackOff
	if v.exited() && b.For == v.inst.ID && b.Wait > 0 {
		return &Waiting{
			Reason:  "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", b.Wait, v.spec.Name, podName(d.in.Pod)),
		}
	}
	return v.mem.StartFailure
}
