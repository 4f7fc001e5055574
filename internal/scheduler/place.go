package scheduler

import (
	"fmt"
	"sort"

	v1 "k8s.io/api/core/v1"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// reason why a node can't take a pod, in the field's stock wording. Moving other
// pods away can help only where it is resolvable.
type reason struct {
	text       string
	resolvable bool
}

// filter is one thing that a node must satisfy; an empty answer is a fit.
type filter func(n *node, pod *v1.Pod, l load) []reason

// filters in the order in which they are asked. The first that objects decides
// what the user is told of a node.
var filters = []filter{unschedulable, taints, nodeAffinity, hostPorts, resources}

func unschedulable(n *node, pod *v1.Pod, _ load) []reason {
	taint := v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
	if !n.object.Spec.Unschedulable || tolerates(pod, &taint) {
		return nil
	}
	return []reason{{text: "node(s) were unschedulable"}}
}

func taints(n *node, pod *v1.Pod, _ load) []reason {
	for i := range n.object.Spec.Taints {
		t := &n.object.Spec.Taints[i]
		if t.Effect != v1.TaintEffectPreferNoSchedule && !tolerates(pod, t) {
			return []reason{{text: "node(s) had untolerated taint(s)"}}
		}
	}
	return nil
}

func tolerates(pod *v1.Pod, taint *v1.Taint) bool {
	return corev1.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, taint, false)
}

func nodeAffinity(n *node, pod *v1.Pod, _ load) []reason {
	if fits, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n.object); err == nil && fits {
		return nil
	}
	return []reason{{text: "node(s) didn't match Pod's node affinity/selector"}}
}

func hostPorts(n *node, _ *v1.Pod, l load) []reason {
	for _, want := range l.ports {
		for _, other := range n.pods {
			for _, taken := range other.ports {
				if want.conflicts(taken) {
					return []reason{{"node(s) didn't have free ports for the requested pod ports", true}}
				}
			}
		}
	}
	return nil
}

func resources(n *node, _ *v1.Pod, l load) []reason {
	var short []reason
	if int64(len(n.pods))+1 > n.allocatable[v1.ResourcePods] {
		short = append(short, reason{"Too many pods", true})
	}
	free := n.free()
	for name, want := range l.requests {
		if want > 0 && want > free[name] {
			// More than the whole node has: no pod that leaves can make room.
			short = append(short, reason{fmt.Sprintf("Insufficient %s", name), want <= n.allocatable[name]})
		}
	}
	sort.Slice(short, func(i, j int) bool { return short[i].text < short[j].text })
	return short
}

// Place picks the node for a pod, or says of every node why it can't be.
func (c *Cluster) Place(pod *v1.Pod) (nodeName string, why *Unfit) {
	l := loadOf(pod)
	why = &Unfit{}
	best := -1.0
	for _, name := range c.nodeNames() {
		n := c.nodes[name]
		why.nodes++
		if reasons := n.refuse(pod, l); len(reasons) > 0 {
			why.add(reasons)
			continue
		}
		if s := score(n, pod, l); s > best {
			nodeName, best = name, s
		}
	}
	if nodeName != "" {
		return nodeName, nil
	}
	return "", why
}

// nodeNames that are there, sorted so that ties fall the same way each time.
func (c *Cluster) nodeNames() []string {
	names := make([]string, 0, len(c.nodes))
	for name, n := range c.nodes {
		if n.object != nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func (n *node) refuse(pod *v1.Pod, l load) []reason {
	for _, f := range filters {
		if reasons := f(n, pod, l); len(reasons) > 0 {
			return reasons
		}
	}
	return nil
}

// score prefers, in this order of weight: nodes that the pod prefers, nodes
// without taints it would rather avoid, and the emptiest node. Each part is 0–1.
func score(n *node, pod *v1.Pod, l load) float64 {
	return 2*preference(n, pod) + 3*calm(n, pod) + leastUsed(n, l)
}

func preference(n *node, pod *v1.Pod) float64 {
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil {
		return 0
	}
	terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		return 0
	}
	var most int64
	for _, t := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		most += int64(t.Weight)
	}
	if most == 0 {
		return 0
	}
	return float64(terms.Score(n.object)) / float64(most)
}

func calm(n *node, pod *v1.Pod) float64 {
	avoid := 0
	for i := range n.object.Spec.Taints {
		t := &n.object.Spec.Taints[i]
		if t.Effect == v1.TaintEffectPreferNoSchedule && !tolerates(pod, t) {
			avoid++
		}
	}
	return 1 / float64(1+avoid)
}

// leastUsed is the share of CPU and memory that stays free, averaged.
func leastUsed(n *node, l load) float64 {
	free := n.free()
	share := func(name v1.ResourceName) float64 {
		if n.allocatable[name] <= 0 {
			return 0
		}
		return max(0, float64(free[name]-l.requests[name])/float64(n.allocatable[name]))
	}
	return (share(v1.ResourceCPU) + share(v1.ResourceMemory)) / 2
}
