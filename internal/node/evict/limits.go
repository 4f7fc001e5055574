package evict

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// overLimit says which of its own local-storage limits the pod exceeds, or nothing.
func overLimit(p *Pod) string {
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		if vol.EmptyDir == nil || vol.EmptyDir.SizeLimit == nil || vol.EmptyDir.SizeLimit.Sign() <= 0 {
			continue
		}
		if used, known := p.Usage.Volumes[vol.Name]; known && used > vol.EmptyDir.SizeLimit.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", vol.Name, vol.EmptyDir.SizeLimit.String())
		}
	}
	limits := resourcehelper.PodLimits(p.Pod, resourcehelper.PodResourcesOptions{})
	if limit, set := limits[v1.ResourceEphemeralStorage]; set && everyContainerLimited(p.Pod) && p.Usage.Disk > limit.Value() {
		return fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", limit.String())
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		limit, set := c.Resources.Limits[v1.ResourceEphemeralStorage]
		if set && limit.Sign() > 0 && p.Usage.Containers[c.Name].Disk > limit.Value() {
			return fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, limit.String())
		}
	}
	return ""
}

// everyContainerLimited: where one container may use as much as there is, the sum of the others' limits limits nothing.
func everyContainerLimited(pod *v1.Pod) bool {
	for i := range pod.Spec.Containers {
		if _, set := pod.Spec.Containers[i].Resources.Limits[v1.ResourceEphemeralStorage]; !set {
			return false
		}
	}
	return true
}

// limited tells whether the pod must be measured for its limits at all.
func limited(pod *v1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if e := pod.Spec.Volumes[i].EmptyDir; e != nil && e.SizeLimit != nil {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if _, set := pod.Spec.Containers[i].Resources.Limits[v1.ResourceEphemeralStorage]; set {
			return true
		}
	}
	return false
}
