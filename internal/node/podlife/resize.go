package podlife

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// resize brings the resources of running containers to what the spec says now: in
// place, or by a restart where the container's resizePolicy wants one.
func (d *decision) resize() {
	for _, v := range d.of(Sidecar, Main) {
		if !v.running() || v.mem.Kill != nil || v.mem.Resources == nil {
			continue
		}
		changed, restart := resized(v.spec, v.mem.Resources)
		switch {
		case restart:
			d.kill(v, fmt.Sprintf("Container %s resize requires restart", v.spec.Name), "its resizePolicy is RestartContainer", d.in.Now.Add(d.grace()))
			d.drive(v, true)
		case changed:
			d.act(Action{
				ID:   fmt.Sprintf("resize:%s:%d", v.inst.ID, d.in.Pod.Generation),
				Kind: ResizeContainer, Container: v.spec.Name, ContainerID: v.inst.ID,
				Why: "its resources in the spec changed",
			})
		}
	}
}

// resized compares cpu and memory, the two that can change.
func resized(c *v1.Container, now *v1.ResourceRequirements) (changed, restart bool) {
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if equality.Semantic.DeepEqual(c.Resources.Limits[name], now.Limits[name]) &&
			equality.Semantic.DeepEqual(c.Resources.Requests[name], now.Requests[name]) {
			continue
		}
		changed = true
		for _, p := range c.ResizePolicy {
			if p.ResourceName == name && p.RestartPolicy == v1.RestartContainer {
				restart = true
			}
		}
	}
	return changed, restart
}
