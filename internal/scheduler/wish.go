package scheduler

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Wish is a pod that is to be placed, with what is not in the pod.
type Wish struct {
	Pod *v1.Pod
	// Group matches the pods that it shares its Services and its owner with: they
	// are spread where the pod doesn't say how. Nil: there are none.
	Group labels.Selector
	// Volumes refuses nodes where the pod's volumes can't be. Nil: they can be anywhere.
	Volumes func(*v1.Node) []Reason
}

// question is a wish held against one picture of the cluster, with everything
// worked out that is the same for all nodes.
type question struct {
	cluster  *Cluster
	pod      *podInfo
	wish     Wish
	nodes    nodeaffinity.RequiredNodeAffinity
	only     sets.Set[string] // the nodes that the pod names; nil: it names none
	spread   []spread
	affinity affinity
}

func (c *Cluster) ask(w Wish) *question {
	q := &question{cluster: c, pod: newPodInfo(w.Pod), wish: w, nodes: nodeaffinity.GetRequiredNodeAffinity(w.Pod), only: namedNodes(w.Pod)}
	q.pod.resolve(c.namespaces)
	q.spread = c.spreads(q, hardConstraints(w.Pod))
	q.affinity = c.countAffinity(q.pod)
	return q
}

// resolve puts the namespaces that terms select into the list of those that they
// name, so that other pods can be held against them without theirs.
func (p *podInfo) resolve(namespaces map[string]labels.Set) {
	for i := range p.needs {
		p.needs[i].resolve(namespaces)
	}
	for i := range p.avoids {
		p.avoids[i].resolve(namespaces)
	}
	for i := range p.prefers {
		p.prefers[i].resolve(namespaces)
	}
}

func (t *term) resolve(namespaces map[string]labels.Set) {
	for name, set := range namespaces {
		if t.namespaceSelector.Matches(set) {
			t.namespaces.Insert(name)
		}
	}
	t.namespaceSelector = labels.Nothing()
}

// namedNodes are those to which the pod's affinity binds it by name, as that of
// a DaemonSet's pods does; nil if any term leaves the name open.
func namedNodes(pod *v1.Pod) sets.Set[string] {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil || pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	var names sets.Set[string]
	for _, t := range pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		var ofTerm sets.Set[string]
		for _, f := range t.MatchFields {
			if f.Key != "metadata.name" || f.Operator != v1.NodeSelectorOpIn {
				continue
			}
			if named := sets.New(f.Values...); ofTerm == nil {
				ofTerm = named
			} else {
				ofTerm = ofTerm.Intersection(named)
			}
		}
		if ofTerm == nil {
			return nil
		}
		names = names.Union(ofTerm)
	}
	return names
}

// trial is a question about a node on which pods come and go to see what would be.
type trial struct {
	*question
	node *node
}

func (q *question) try(n *node) trial {
	own := *q
	own.spread, own.affinity = cloneSpreads(q.spread), q.affinity.clone()
	return trial{&own, n.copied()}
}

func (t trial) add(p *podInfo) {
	t.node.take(p)
	t.count(p, 1)
}

func (t trial) remove(p *podInfo) {
	t.node.release(p)
	t.count(p, -1)
}

func (t trial) count(p *podInfo, change int) {
	for i := range t.spread {
		t.spread[i].count(t.node, p, change)
	}
	t.affinity.count(t.pod, p, t.node, change, t.cluster.namespaces[t.pod.Namespace])
}
