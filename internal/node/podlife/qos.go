package podlife

import (
	v1 "k8s.io/api/core/v1"
)

// QoS is the pod's quality of service class: as the API has it, or worked out as
// it does for a pod that no API server has seen.
func QoS(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	if r := pod.Spec.Resources; r != nil && (counts(r.Requests) || counts(r.Limits)) {
		return qosOf([]v1.ResourceRequirements{*r})
	}
	var all []v1.ResourceRequirements
	for i := range pod.Spec.InitContainers {
		all = append(all, pod.Spec.InitContainers[i].Resources)
	}
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Resources)
	}
	return qosOf(all)
}

// qosOf: nothing asked for is BestEffort; cpu and memory limited everywhere, and
// requested as much, is Guaranteed; anything else is Burstable.
func qosOf(all []v1.ResourceRequirements) v1.PodQOSClass {
	best, guaranteed := true, true
	for _, r := range all {
		best = best && !counts(r.Requests) && !counts(r.Limits)
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			limit, request := r.Limits[name], r.Requests[name]
			if limit.IsZero() || !request.IsZero() && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case best:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// counts: only cpu and memory make a class.
func counts(list v1.ResourceList) bool {
	cpu, memory := list[v1.ResourceCPU], list[v1.ResourceMemory]
	return !cpu.IsZero() || !memory.IsZero()
}
