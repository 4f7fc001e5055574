package quota

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// ClaimResource says that a resource is one that claims count for.
func ClaimResource(name v1.ResourceName) bool {
	if _, rest, ofClass := strings.Cut(string(name), classSuffix); ofClass {
		name = v1.ResourceName(rest)
	}
	return name == v1.ResourcePersistentVolumeClaims || name == v1.ResourceRequestsStorage || name == countPrefix+"persistentvolumeclaims"
}

// ServiceResource says that a resource is one that services count for.
func ServiceResource(name v1.ResourceName) bool {
	switch name {
	case countPrefix + "services", v1.ResourceServices, v1.ResourceServicesNodePorts, v1.ResourceServicesLoadBalancers:
		return true
	}
	return false
}

// PodResource says that a resource is one that pods count for.
func PodResource(name v1.ResourceName) bool {
	switch name {
	case countPrefix + "pods", v1.ResourcePods, v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage,
		v1.ResourceRequestsCPU, v1.ResourceRequestsMemory, v1.ResourceRequestsEphemeralStorage,
		v1.ResourceLimitsCPU, v1.ResourceLimitsMemory, v1.ResourceLimitsEphemeralStorage:
		return true
	}
	plain, requested := strings.CutPrefix(string(name), requestsPrefix)
	return strings.HasPrefix(plain, v1.ResourceHugePagesPrefix) || requested && strings.Contains(plain, "/")
}

// MissingFromPod says what a pod must tell for quotas that limit the resources
// named: by resource, the containers that don't tell it.
func MissingFromPod(p *v1.Pod, limited []v1.ResourceName) map[v1.ResourceName][]string {
	if p.Spec.Resources != nil && (len(p.Spec.Resources.Requests) > 0 || len(p.Spec.Resources.Limits) > 0) {
		return nil
	}
	missing := map[v1.ResourceName][]string{}
	for _, name := range limited {
		list, key := told(name)
		if list == nil {
			continue
		}
		for _, containers := range [][]v1.Container{p.Spec.Containers, p.Spec.InitContainers} {
			for i := range containers {
				if _, tells := list(&containers[i])[key]; !tells {
					missing[name] = append(missing[name], containers[i].Name)
				}
			}
		}
	}
	return missing
}

// told is where a container tells what a quota of CPU or memory needs to know of
// it. Other resources need not be told.
func told(name v1.ResourceName) (list func(*v1.Container) v1.ResourceList, key v1.ResourceName) {
	requests := func(c *v1.Container) v1.ResourceList { return c.Resources.Requests }
	limits := func(c *v1.Container) v1.ResourceList { return c.Resources.Limits }
	switch name {
	case v1.ResourceCPU, v1.ResourceRequestsCPU:
		return requests, v1.ResourceCPU
	case v1.ResourceMemory, v1.ResourceRequestsMemory:
		return requests, v1.ResourceMemory
	case v1.ResourceLimitsCPU:
		return limits, v1.ResourceCPU
	case v1.ResourceLimitsMemory:
		return limits, v1.ResourceMemory
	}
	return nil, ""
}
