package loop

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pressing tells whether somebody may be waiting for the change from one status to
// another: a phase, a condition that is or was True, a container that runs, ended or
// can't start. The rest are stations on the way there (ContainerCreating, the
// pod's address, a generation seen), which most pods leave within milliseconds:
// they may wait a moment for what comes next.
func pressing(before, after *v1.PodStatus) bool {
	return !equality.Semantic.DeepEqual(essence(before), essence(after))
}

// essence is a status without its stations.
func essence(s *v1.PodStatus) v1.PodStatus {
	out := *s
	out.ObservedGeneration, out.StartTime, out.QOSClass = 0, nil, ""
	out.HostIP, out.HostIPs, out.PodIP, out.PodIPs = "", nil, "", nil
	out.Conditions = truths(s.Conditions)
	out.InitContainerStatuses = under(s.InitContainerStatuses)
	out.ContainerStatuses = under(s.ContainerStatuses)
	out.EphemeralContainerStatuses = under(s.EphemeralContainerStatuses)
	if out.Phase == "" {
		out.Phase = v1.PodPending
	}
	return out
}

// truths are the conditions that hold. Initialized is told by the init containers.
func truths(all []v1.PodCondition) (out []v1.PodCondition) {
	for _, c := range all {
		if c.Status != v1.ConditionTrue || c.Type == v1.PodReadyToStartContainers || c.Type == v1.PodInitialized {
			continue
		}
		c.ObservedGeneration, c.LastProbeTime, c.LastTransitionTime = 0, metav1.Time{}, metav1.Time{}
		out = append(out, c)
	}
	return out
}

// under way are the containers that are past their first start, or can't make it.
func under(all []v1.ContainerStatus) []v1.ContainerStatus {
	return slices.DeleteFunc(slices.Clone(all), func(c v1.ContainerStatus) bool {
		w := c.State.Waiting
		return w != nil && (w.Reason == "ContainerCreating" || w.Reason == "PodInitializing") &&
			c.RestartCount == 0 && c.LastTerminationState == v1.ContainerState{}
	})
}
