package scheduler

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// The functions below say of a change what pods that fitted nowhere may be helped
// by it: those that failed by one of the concerns.

// ofGonePod is what a pod's end may help; ofNewPod what its coming.
const (
	ofGonePod = OfPorts | OfResources | OfVolumes | OfSpread | OfAffinity
	ofNewPod  = OfSpread | OfAffinity
)

// ofPodChange on a node, from old (nil: it was not there) to now.
func ofPodChange(old, now *v1.Pod) (c Concern) {
	switch {
	case old == nil || old.Spec.NodeName == "":
		if ended(now) {
			return 0
		}
		return ofNewPod
	case ended(now):
		if ended(old) {
			return 0
		}
		return ofGonePod
	}
	if !maps.Equal(old.Labels, now.Labels) {
		c |= OfSpread | OfAffinity
	}
	if old.DeletionTimestamp == nil && now.DeletionTimestamp != nil {
		c |= OfSpread
	}
	before := requestsOf(old)
	for name, amount := range requestsOf(now) {
		if amount < before[name] {
			c |= OfResources
		}
		delete(before, name)
	}
	if len(before) > 0 {
		c |= OfResources
	}
	return c
}

// ofNodeChange is 0 for heartbeats, which change a node all the time.
func ofNodeChange(old, now *v1.Node) (c Concern) {
	if old == nil {
		return OfAll
	}
	if !maps.Equal(old.Labels, now.Labels) {
		c |= OfNodeAffinity | OfSpread | OfAffinity | OfVolumes
	}
	if old.Spec.Unschedulable != now.Spec.Unschedulable {
		c |= OfNode
	}
	if !equality.Semantic.DeepEqual(old.Spec.Taints, now.Spec.Taints) {
		c |= OfTaints | OfSpread
	}
	before := quantitiesOf(old.Status.Allocatable)
	for name, amount := range quantitiesOf(now.Status.Allocatable) {
		if amount > before[name] {
			c |= OfResources
		}
	}
	return c
}

// mayFit looks closer at a change on one node: a pod that fails by nothing but
// resources is helped only if it fits there now, or could be made to.
func (c *Cluster) mayFit(p *podInfo, concerns Concern, nodeName string) bool {
	n := c.nodes[nodeName]
	if concerns != OfResources || n == nil || n.object == nil {
		return true
	}
	if len(resources(&question{pod: p}, n)) == 0 {
		return true
	}
	for _, other := range n.pods {
		if other.priority < p.priority {
			return true
		}
	}
	return false
}

// ofUnboundChange says that a change of a pod without a node is a reason to try it
// again; a status written by ourselves is none.
func ofUnboundChange(old, now *v1.Pod) bool {
	return old == nil || old.Generation != now.Generation || !maps.Equal(old.Labels, now.Labels) ||
		len(old.Spec.SchedulingGates) > 0 && len(now.Spec.SchedulingGates) == 0
}
