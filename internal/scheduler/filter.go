package scheduler

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
)

// Reason why a node can't take a pod, in the field's stock wording. Ending other
// pods on the node can help only where it is Resolvable.
type Reason struct {
	Text       string
	Resolvable bool
	Concern    Concern
}

// Concern is what a filter looks at, as a set: only a change of that can make it agree.
type Concern uint

// The concerns, one a filter.
const (
	OfNode Concern = 1 << iota
	OfTaints
	OfNodeAffinity
	OfPorts
	OfResources
	OfVolumes
	OfSpread
	OfAffinity

	// OfAll is every concern.
	OfAll Concern = 1<<iota - 1
)

// filter is one thing that a node must satisfy; an empty answer is a fit.
type filter func(q *question, n *node) []Reason

// filters in the order in which they are asked. The first that objects decides
// what the user is told of a node.
var filters = []filter{unschedulable, taints, nodeAffinity, hostPorts, resources, volumes, topologySpread, podAffinity}

// refuse also counts the pods of the same or higher priority that wait for room
// on the node. They may still go elsewhere, so the pod must fit without them too.
func (q *question) refuse(n *node) []Reason {
	if waiting := q.waitingFor(n); len(waiting) > 0 {
		t := q.try(n)
		for _, p := range waiting {
			t.add(p)
		}
		if reasons := t.refuseNow(t.node); len(reasons) > 0 {
			return reasons
		}
	}
	return q.refuseNow(n)
}

func (q *question) waitingFor(n *node) (pods []*podInfo) {
	for uid, p := range q.cluster.nominated {
		if p.node.name == n.name && uid != q.pod.UID && p.priority >= q.pod.priority {
			pods = append(pods, p.podInfo)
		}
	}
	return pods
}

func (q *question) refuseNow(n *node) []Reason {
	for _, f := range filters {
		if reasons := f(q, n); len(reasons) > 0 {
			return reasons
		}
	}
	return nil
}

// Answers that don't depend on the pod are made once.
var (
	isUnschedulable = []Reason{{"node(s) were unschedulable", false, OfNode}}
	isTainted       = []Reason{{"node(s) had untolerated taint(s)", false, OfTaints}}
	isOther         = []Reason{{"node(s) didn't match Pod's node affinity/selector", false, OfNodeAffinity}}
	isUnnamed       = []Reason{{"node(s) didn't satisfy plugin(s) [NodeAffinity]", false, OfNodeAffinity}}
	portsTaken      = []Reason{{"node(s) didn't have free ports for the requested pod ports", true, OfPorts}}
)

func unschedulable(q *question, n *node) []Reason {
	taint := v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
	if !n.object.Spec.Unschedulable || tolerates(q.pod.Pod, &taint) {
		return nil
	}
	return isUnschedulable
}

func taints(q *question, n *node) []Reason {
	if repels(q.pod.Pod, n.object) {
		return isTainted
	}
	return nil
}

// repels says that a node has a taint that keeps a pod away.
func repels(pod *v1.Pod, n *v1.Node) bool {
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if t.Effect != v1.TaintEffectPreferNoSchedule && !tolerates(pod, t) {
			return true
		}
	}
	return false
}

func tolerates(pod *v1.Pod, taint *v1.Taint) bool {
	return corev1.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, taint, false)
}

func nodeAffinity(q *question, n *node) []Reason {
	if fits, err := q.nodes.Match(n.object); err == nil && fits {
		return nil
	}
	return isOther
}

func hostPorts(q *question, n *node) []Reason {
	if len(q.pod.ports) == 0 {
		return nil
	}
	for _, other := range n.pods {
		for _, taken := range other.ports {
			if slices.ContainsFunc(q.pod.ports, taken.conflicts) {
				return portsTaken
			}
		}
	}
	return nil
}

func resources(q *question, n *node) (short []Reason) {
	if int64(len(n.pods))+1 > n.allocatable[v1.ResourcePods] {
		short = append(short, Reason{"Too many pods", true, OfResources})
	}
	for name, want := range q.pod.requests {
		if has := n.allocatable[name]; want > 0 && want > has-n.used[name] {
			// More than the whole node has: no pod that leaves can make room.
			short = append(short, Reason{fmt.Sprintf("Insufficient %s", name), want <= has, OfResources})
		}
	}
	slices.SortFunc(short, func(a, b Reason) int { return strings.Compare(a.Text, b.Text) })
	return short
}

func volumes(q *question, n *node) []Reason {
	if q.wish.Volumes == nil {
		return nil
	}
	return q.wish.Volumes(n.object)
}
