package podstatus

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

// setResources: what the pod as a whole was granted, and what is in force.
func setResources(in Input, s *v1.PodStatus) {
	s.AllocatedResources = resourcehelper.PodRequests(in.Pod, resourcehelper.PodResourcesOptions{})
	s.Resources = in.Pod.Spec.Resources.DeepCopy()
	if s.Resources == nil {
		s.Resources = &v1.ResourceRequirements{}
	}
	if s.Phase != v1.PodRunning {
		s.Resources.Requests = maps.Clone(s.AllocatedResources)
		s.Resources.Limits = resourcehelper.PodLimits(in.Pod, resourcehelper.PodResourcesOptions{})
		return
	}
	setFromCgroup(in, s.Resources)
	if _, set := s.Resources.Requests[v1.ResourceMemory]; !set {
		put(&s.Resources.Requests, v1.ResourceMemory, s.AllocatedResources)
	}
}

// setFromCgroup takes from the pod's cgroup what it has: memory requests are in none.
func setFromCgroup(in Input, r *v1.ResourceRequirements) {
	sized := in.Pod
	if in.Memory.Sized != nil {
		sized = in.Memory.Sized.On(in.Pod)
	}
	cgroup := container.PodResources(sized)
	if cgroup.CpuShares > container.MinShares {
		put(&r.Requests, v1.ResourceCPU, resourcehelper.PodRequests(sized, resourcehelper.PodResourcesOptions{}))
	}
	limits := resourcehelper.PodLimits(sized, resourcehelper.PodResourcesOptions{})
	if cgroup.CpuQuota != 0 {
		put(&r.Limits, v1.ResourceCPU, limits)
	}
	if cgroup.MemoryLimitInBytes != 0 {
		put(&r.Limits, v1.ResourceMemory, limits)
	}
}

func put(list *v1.ResourceList, name v1.ResourceName, from v1.ResourceList) {
	amount, ok := from[name]
	if !ok {
		return
	}
	if *list == nil {
		*list = v1.ResourceList{}
	}
	(*list)[name] = amount
}

// resizeConditions tell of a resize that waits, or is under way.
func resizeConditions(in Input, s *v1.PodStatus) []v1.PodCondition {
	if s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed {
		return nil
	}
	var out []v1.PodCondition
	add := func(kind v1.PodConditionType, r *podlife.Resize) {
		if r != nil {
			out = append(out, v1.PodCondition{
				Type: kind, Status: v1.ConditionTrue, Reason: r.Reason, Message: r.Message,
				ObservedGeneration: r.Generation, LastTransitionTime: asSent(r.Since),
			})
		}
	}
	add(v1.PodResizePending, in.Memory.ResizePending)
	add(v1.PodResizeInProgress, in.Memory.Resizing)
	return out
}
