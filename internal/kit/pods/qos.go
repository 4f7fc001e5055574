package pods

import (
	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// QOSClass returns the class that was decided at the pod's creation; for a pod
// without one (a static pod, before the API has seen it) it is computed.
func QOSClass(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return ComputeQOSClass(pod)
}

// ComputeQOSClass derives the class from the spec alone: Guaranteed if everything
// in the pod asks for exactly the cpu and memory it is limited to, BestEffort if
// nothing asks for or is limited in either, else Burstable.
func ComputeQOSClass(pod *v1.Pod) v1.PodQOSClass {
	if resourcehelper.IsPodLevelResourcesSet(pod) {
		return classOf(pod.Spec.Resources)
	}
	class := v1.PodQOSClass("")
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			class = join(class, classOf(&list[i].Resources))
		}
	}
	if class == "" {
		return v1.PodQOSBestEffort
	}
	return class
}

func classOf(r *v1.ResourceRequirements) v1.PodQOSClass {
	class := v1.PodQOSClass("")
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		request, limit := r.Requests[name], r.Limits[name]
		switch {
		case !request.Equal(limit):
			return v1.PodQOSBurstable
		case request.IsZero():
			class = join(class, v1.PodQOSBestEffort)
		default:
			class = join(class, v1.PodQOSGuaranteed)
		}
	}
	return class
}

// join is the class of two parts together: that of both, or between the two.
func join(a, b v1.PodQOSClass) v1.PodQOSClass {
	if a == "" || a == b {
		return b
	}
	return v1.PodQOSBurstable
}
