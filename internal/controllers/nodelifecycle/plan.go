package nodelifecycle

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// grace is how long a node may be silent before it counts as unreachable.
const grace = 50 * time.Second

// pressures are the conditions that keep pods away while they are True.
var pressures = []struct {
	condition v1.NodeConditionType
	taint     string
}{
	{v1.NodeMemoryPressure, v1.TaintNodeMemoryPressure},
	{v1.NodeDiskPressure, v1.TaintNodeDiskPressure},
	{v1.NodePIDPressure, v1.TaintNodePIDPressure},
	{v1.NodeNetworkUnavailable, v1.TaintNodeNetworkUnavailable},
}

// owned are the taints that this controller sets and takes away; all others are
// other people's.
var owned = []string{
	v1.TaintNodeNotReady, v1.TaintNodeUnreachable, v1.TaintNodeUnschedulable,
	v1.TaintNodeMemoryPressure, v1.TaintNodeDiskPressure, v1.TaintNodePIDPressure, v1.TaintNodeNetworkUnavailable,
}

// taintsFor is the node's whole list of taints, as its conditions ask for.
func taintsFor(node *v1.Node, now time.Time) []v1.Taint {
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t v1.Taint) bool {
		return slices.Contains(owned, t.Key) && t.Effect != v1.TaintEffectPreferNoSchedule
	})
	add := func(key string, effects ...v1.TaintEffect) {
		for _, e := range effects {
			taints = append(taints, keepTime(node, v1.Taint{Key: key, Effect: e}, now))
		}
	}
	switch ready := status(node, v1.NodeReady); ready {
	case v1.ConditionFalse, "":
		add(v1.TaintNodeNotReady, v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute)
	case v1.ConditionUnknown:
		add(v1.TaintNodeUnreachable, v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute)
	}
	for _, p := range pressures {
		if status(node, p.condition) == v1.ConditionTrue {
			add(p.taint, v1.TaintEffectNoSchedule)
		}
	}
	if node.Spec.Unschedulable {
		add(v1.TaintNodeUnschedulable, v1.TaintEffectNoSchedule)
	}
	return taints
}

// keepTime: tolerations that last a while count from when the taint came first.
func keepTime(node *v1.Node, t v1.Taint, now time.Time) v1.Taint {
	for i := range node.Spec.Taints {
		if node.Spec.Taints[i].MatchTaint(&t) {
			return node.Spec.Taints[i]
		}
	}
	if t.Effect == v1.TaintEffectNoExecute {
		t.TimeAdded = &metav1.Time{Time: now}
	}
	return t
}

func status(node *v1.Node, kind v1.NodeConditionType) v1.ConditionStatus {
	for _, c := range node.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// silenced are the conditions of a node that has not been heard of since.
func silenced(node *v1.Node, now time.Time) []v1.NodeCondition {
	conditions := slices.Clone(node.Status.Conditions)
	for _, kind := range []v1.NodeConditionType{v1.NodeReady, v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure} {
		i := slices.IndexFunc(conditions, func(c v1.NodeCondition) bool { return c.Type == kind })
		if i < 0 {
			conditions = append(conditions, v1.NodeCondition{
				Type: kind, Status: v1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
			continue
		}
		if c := &conditions[i]; c.Status != v1.ConditionUnknown {
			c.Status, c.Reason, c.Message = v1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			c.LastTransitionTime = metav1.NewTime(now)
		}
	}
	return conditions
}

// lastHeard is the newest sign of life: the lease, or a report.
func lastHeard(node *v1.Node, renewed *metav1.MicroTime) time.Time {
	heard := node.CreationTimestamp.Time
	for _, c := range node.Status.Conditions {
		if c.LastHeartbeatTime.After(heard) && c.Status != v1.ConditionUnknown {
			heard = c.LastHeartbeatTime.Time
		}
	}
	if renewed != nil && renewed.After(heard) {
		heard = renewed.Time
	}
	return heard
}
