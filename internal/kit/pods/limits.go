package pods

import v1 "k8s.io/api/core/v1"

// EffectiveLimits is what bounds a container's use of cpu, memory and ephemeral
// storage: its own limit, else the pod's, else what the node has to give. Other
// resources are as the container says. This is what the downward API shows.
func EffectiveLimits(pod *v1.Pod, c *v1.Container, allocatable v1.ResourceList) v1.ResourceList {
	limits := v1.ResourceList{}
	for name, limit := range c.Resources.Limits {
		limits[name] = limit
	}
	outer := []v1.ResourceList{allocatable}
	if pod.Spec.Resources != nil {
		outer = []v1.ResourceList{pod.Spec.Resources.Limits, allocatable}
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage} {
		for _, list := range outer {
			if own, set := limits[name]; set && !own.IsZero() {
				break
			}
			if limit, set := list[name]; set {
				limits[name] = limit
			}
		}
	}
	return limits
}
