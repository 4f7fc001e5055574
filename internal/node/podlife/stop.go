package podlife

import (
	"fmt"
	"time"
)

// stop ends every container of the pod: the main ones at once, then the sidecars
// in reverse order, all by one deadline. Nothing is started any more.
func (d *decision) stop() {
	s := d.mem.Stop
	d.cancel(PullImage, MountVolumes, CreateSandbox, StartContainer, ResizePod)
	d.cancelPostStart()
	why := fmt.Sprintf("the pod stops: %s", s.Kind)
	turn := true
	for _, v := range d.of(Main, Init, Ephemeral) {
		if v.alive() {
			d.kill(v, stopping(v, why, s.Deadline))
			d.drive(v, true)
		}
		// An ephemeral container is nobody's client: sidecars don't wait for it.
		if v.role != Ephemeral && (v.alive() || d.busy(StartContainer, v.spec.Name)) {
			turn = false
		}
	}
	sidecars := d.of(Sidecar)
	for i := len(sidecars) - 1; i >= 0; i-- {
		v := sidecars[i]
		if v.alive() {
			d.kill(v, stopping(v, why, s.Deadline))
			d.drive(v, turn)
		}
		if v.alive() || d.busy(StartContainer, v.spec.Name) {
			turn = false
		}
	}
	d.stopStrays(s.Deadline, why)
	if d.stopped() && d.mem.End == nil {
		d.mem.End = d.end()
		if d.mem.End != nil {
			d.say("", "Ended", fmt.Sprintf("phase %s", d.mem.End.Phase))
		}
	}
}

// stopping is an ending that nothing follows.
func stopping(v *view, why string, deadline time.Time) ending {
	return ending{message: "Stopping container " + v.spec.Name, why: why, deadline: deadline}
}

func (d *decision) cancelPostStart() {
	for id, a := range d.in.InFlight {
		if a.Kind == RunHook && a.Hook == PostStart {
			d.out.Cancel = append(d.out.Cancel, id)
		}
	}
}

// stopStrays ends live instances that no container of the spec answers for: older
// ones that should not be, or those of a pod whose spec is lost.
func (d *decision) stopStrays(deadline time.Time, why string) {
	for _, inst := range d.strays() {
		if inst.Alive() {
			d.act(Action{
				ID: "stop:" + inst.ID, Kind: StopContainer, Container: inst.Name, ContainerID: inst.ID,
				Grace: max(deadline.Sub(d.in.Now), 0), Why: why,
			})
		}
	}
}

// stopped: no process of the pod is left, and none can come.
func (d *decision) stopped() bool {
	for _, inst := range d.in.Observed.Instances {
		if inst.Alive() {
			return false
		}
	}
	return !d.busy(StartContainer, "") && !d.busy(CreateSandbox, "")
}
