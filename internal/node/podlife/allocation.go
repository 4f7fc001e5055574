package podlife

import (
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Allocation is cpu, memory and all else that a pod's containers were granted.
// Containers that have nothing are left out.
type Allocation struct {
	Pod        *v1.ResourceRequirements           `json:"pod,omitempty"` // of the pod as a whole
	Containers map[string]v1.ResourceRequirements `json:"containers,omitempty"`
}

// AllocationOf is what the pod's spec asks for.
func AllocationOf(pod *v1.Pod) *Allocation {
	a := &Allocation{Pod: pod.Spec.Resources.DeepCopy()}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if r := &list[i].Resources; len(r.Requests)+len(r.Limits)+len(r.Claims) > 0 {
				if a.Containers == nil {
					a.Containers = map[string]v1.ResourceRequirements{}
				}
				a.Containers[list[i].Name] = *r.DeepCopy()
			}
		}
	}
	return a
}

// AsksResize tells whether the pod's spec asks for other resources than were granted.
func AsksResize(pod *v1.Pod, m Memory) bool {
	return m.Allocated != nil && m.Stop == nil && !m.Allocated.is(pod)
}

// is tells whether the pod's spec asks for exactly this.
func (a *Allocation) is(pod *v1.Pod) bool {
	if !sameCompute(a.Pod, pod.Spec.Resources) {
		return false
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			granted := a.Containers[list[i].Name]
			if !sameCompute(&granted, &list[i].Resources) {
				return false
			}
		}
	}
	return true
}

// sameCompute compares cpu and memory, the two that can change.
func sameCompute(a, b *v1.ResourceRequirements) bool {
	if a == nil {
		a = &v1.ResourceRequirements{}
	}
	if b == nil {
		b = &v1.ResourceRequirements{}
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if !sameAmount(a.Requests, b.Requests, name) || !sameAmount(a.Limits, b.Limits, name) {
			return false
		}
	}
	return true
}

func sameAmount(a, b v1.ResourceList, name v1.ResourceName) bool {
	x, hasX := a[name]
	y, hasY := b[name]
	return hasX == hasY && x.Cmp(y) == 0
}

// Allocated is the pod as it was granted: the spec that it lives by, whatever
// resize of it is still open. It is the pod itself if there is none.
func Allocated(pod *v1.Pod, m Memory) *v1.Pod {
	if m.Allocated == nil || m.Allocated.is(pod) {
		return pod
	}
	return m.Allocated.On(pod)
}

// On returns the pod with these resources.
func (a *Allocation) On(pod *v1.Pod) *v1.Pod {
	p := *pod
	p.Spec.Resources = a.Pod
	p.Spec.InitContainers = a.onContainers(pod.Spec.InitContainers)
	p.Spec.Containers = a.onContainers(pod.Spec.Containers)
	return &p
}

func (a *Allocation) onContainers(list []v1.Container) []v1.Container {
	out := make([]v1.Container, len(list))
	for i := range list {
		out[i] = list[i]
		out[i].Resources = a.Containers[list[i].Name]
	}
	return out
}

// allocate takes the node's verdict on a resize. Whatever the spec asks for, the
// rest of the decision goes by what was granted.
func (d *decision) allocate() {
	if d.mem.Admitted && d.mem.Allocated == nil {
		d.mem.Allocated = AllocationOf(d.in.Pod)
	}
	if AsksResize(d.in.Pod, d.mem) {
		d.judgeResize()
	} else if d.mem.ResizePending != nil {
		d.mem.ResizePending = nil
		d.say("", "Resize taken back", "the spec asks for what the pod has")
	}
	d.in.Pod = Allocated(d.in.Pod, d.mem)
}

func (d *decision) judgeResize() {
	verdict, generation := d.in.Want.Resize, d.in.Pod.Generation
	switch {
	case verdict == nil:
		d.wait("", "the node's word on its new resources", time.Time{})
	case verdict.Admitted:
		d.mem.Allocated, d.mem.ResizePending = AllocationOf(d.in.Pod), nil
		d.mem.Resizing = &Resize{Generation: generation, Since: d.in.Now}
		d.event(false, "", "ResizeStarted", "Pod resize started: %s", resizeSummary(d.in.Pod, generation, ""))
		d.say("", "Resize granted", "the node has room for what the spec asks for now")
	default:
		d.deferResize(verdict, generation)
	}
}

func (d *decision) deferResize(verdict *Admission, generation int64) {
	// The loop tells when room comes, but of a node that has grown nobody does.
	d.wait("", "room for its new resources: "+verdict.Message, d.in.Now.Add(d.in.Policy.RetryMax))
	old := d.mem.ResizePending
	now := &Resize{Reason: v1.PodReasonDeferred, Message: verdict.Message, Generation: generation, Since: d.in.Now}
	if old != nil {
		now.Since = old.Since
	}
	d.mem.ResizePending = now
	if old == nil || old.Generation != generation {
		d.event(true, "", "ResizeDeferred", "Pod resize %s: %s", now.Reason, resizeSummary(d.in.Pod, generation, verdict.Message))
		d.say("", "Resize deferred", verdict.Message)
	}
}

// resizeSummary is what stock events tell of a resize, as JSON.
func resizeSummary(pod *v1.Pod, generation int64, message string) string {
	type resources struct {
		Name      string                  `json:"name"`
		Resources v1.ResourceRequirements `json:"resources"`
	}
	s := struct {
		InitContainers []resources `json:"initContainers,omitempty"`
		Containers     []resources `json:"containers,omitempty"`
		Generation     int64       `json:"generation"`
		Error          string      `json:"error,omitempty"`
	}{Generation: generation, Error: message}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		s.InitContainers = append(s.InitContainers, resources{c.Name, c.Resources})
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		s.Containers = append(s.Containers, resources{c.Name, c.Resources})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf("generation %d", generation)
	}
	return string(b)
}
