package podlife

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// resize brings what is granted into force: in place, or by a restart where the
// container's resizePolicy wants one. The pod's own cgroup comes last, when no
// container is left that has more.
func (d *decision) resize() {
	var changed []Resizing
	late := false // a container will have its new resources only some time
	sized := d.outgrown() == nil
	for _, v := range d.of(Init, Sidecar, Main) {
		late = late || d.mem.Resizing != nil && v.replaced() && d.busy(StartContainer, v.spec.Name)
		inherits := !sized && v.running() && d.in.Pod.Spec.Resources != nil && unlimited(v.spec)
		if v.mem.Resources == nil || sameCompute(v.mem.Resources, &v.spec.Resources) && !inherits {
			continue
		}
		switch {
		case !v.alive():
			late = late || v.replaced()
		case !v.running() || v.mem.Kill != nil || d.busy(StartContainer, v.spec.Name):
			late = true
		case v.role != Init && restartsOnResize(v.spec, v.mem.Resources):
			late = true
			d.kill(v, ending{
				message: fmt.Sprintf("Container %s resize requires restart", v.spec.Name),
				why:     "its resizePolicy is RestartContainer", deadline: d.in.Now.Add(d.grace()), again: true,
			})
			d.drive(v, true)
		default:
			changed = append(changed, Resizing{Container: v.spec.Name, ContainerID: v.inst.ID, From: *v.mem.Resources})
		}
	}
	if (len(changed) > 0 || !sized && !late) && !d.busy(ResizePod, "") {
		d.act(Action{
			ID: fmt.Sprintf("resize:%d", d.in.Pod.Generation), Kind: ResizePod,
			Sized: d.mem.Sized, Target: d.mem.Allocated, Resizes: changed,
			Why: "its resources in the spec changed, and the node granted them",
		})
	}
	d.tellResized(sized && !late && len(changed) == 0)
}

// unlimited: the container has the pod's limit where it has none of its own.
func unlimited(c *v1.Container) bool {
	return c.Resources.Limits.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero()
}

// outgrown is the size of the pod's cgroup if it is not the one that was granted.
func (d *decision) outgrown() *Allocation {
	if d.mem.Sized == nil || d.mem.Sized.is(d.in.Pod) {
		return nil
	}
	return d.mem.Sized
}

// tellResized keeps the condition of a resize under way.
func (d *decision) tellResized(done bool) {
	r := d.mem.Resizing
	switch {
	case done && r != nil:
		d.mem.Resizing = nil
		d.event(false, "", "ResizeCompleted", "Pod resize completed: %s", resizeSummary(d.in.Pod, r.Generation, ""))
		d.say("", "Resize completed", "every container has what was granted")
	case !done && r == nil:
		d.mem.Resizing = &Resize{Generation: d.in.Pod.Generation, Since: d.in.Now}
	}
}

func (d *decision) foldResized(a Action) {
	for _, r := range a.Resizes {
		if v := d.view(r.Container); v != nil && v.inst != nil && v.inst.ID == r.ContainerID {
			now := a.Target.Containers[r.Container]
			v.mem.Resources = now.DeepCopy()
		}
	}
	d.mem.Sized = a.Target
}

func (d *decision) foldResizeFailed(o Outcome) {
	r := d.mem.Resizing
	if r == nil || r.Reason == v1.PodReasonError && r.Message == o.Message {
		return
	}
	r.Reason, r.Message, r.Since = v1.PodReasonError, o.Message, d.in.Now
	d.event(true, "", "ResizeError", "Pod resize error: %s", resizeSummary(d.in.Pod, r.Generation, o.Message))
}

func restartsOnResize(c *v1.Container, now *v1.ResourceRequirements) bool {
	for _, p := range c.ResizePolicy {
		same := sameAmount(c.Resources.Requests, now.Requests, p.ResourceName) && sameAmount(c.Resources.Limits, now.Limits, p.ResourceName)
		if !same && p.RestartPolicy == v1.RestartContainer {
			return true
		}
	}
	return false
}
