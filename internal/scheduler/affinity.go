package scheduler

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// place is a value of a topology key: the nodes that have it are one place.
type place struct{ key, value string }

// affinity counts, by place, the pods that the pod's required terms mean, and
// the other pods' terms that mean it.
type affinity struct {
	needed  map[place]int // pods that match all of the pod's affinity terms
	avoided map[place]int // pods that match one of its anti-affinity terms
	avoidit map[place]int // other pods' anti-affinity terms that match the pod
}

func (a affinity) clone() affinity {
	return affinity{maps.Clone(a.needed), maps.Clone(a.avoided), maps.Clone(a.avoidit)}
}

var (
	othersAvoid = []Reason{{"node(s) didn't satisfy existing pods anti-affinity rules", true, OfAffinity}}
	lonely      = []Reason{{"node(s) didn't match pod affinity rules", false, OfAffinity}}
	crowded     = []Reason{{"node(s) didn't match pod anti-affinity rules", true, OfAffinity}}
)

// countAffinity over the whole cluster, for a pod whose terms are resolved.
func (c *Cluster) countAffinity(pod *podInfo) (a affinity) {
	namespace := c.namespaces[pod.Namespace]
	for _, p := range c.avoiding {
		a.countAvoiding(pod, p.podInfo, p.node, 1, namespace)
	}
	if len(pod.needs) > 0 {
		a.needed = map[place]int{}
	}
	if len(pod.avoids) > 0 {
		a.avoided = map[place]int{}
	}
	for _, p := range c.meant(pod.needs) {
		a.countNeeded(pod, p.podInfo, p.node, 1)
	}
	for _, p := range c.meant(pod.avoids) {
		a.countAvoided(pod, p.podInfo, p.node, 1)
	}
	return a
}

// meant are the pods of all namespaces that the terms name.
func (c *Cluster) meant(terms []term) (out []*placed) {
	seen := map[string]bool{}
	for i := range terms {
		for namespace := range terms[i].namespaces {
			if seen[namespace] {
				continue
			}
			seen[namespace] = true
			for _, p := range c.byNamespace[namespace] {
				out = append(out, p)
			}
		}
	}
	return out
}

// count changes all three by one pod on a node.
func (a *affinity) count(pod, other *podInfo, n *node, change int, namespace labels.Set) {
	a.countAvoiding(pod, other, n, change, namespace)
	a.countNeeded(pod, other, n, change)
	a.countAvoided(pod, other, n, change)
}

func (a *affinity) countAvoiding(pod, other *podInfo, n *node, change int, namespace labels.Set) {
	for i := range other.avoids {
		if t := &other.avoids[i]; t.matches(pod.Pod, namespace) {
			if a.avoidit == nil {
				a.avoidit = map[place]int{}
			}
			tally(a.avoidit, n, t.topologyKey, change)
		}
	}
}

func (a *affinity) countNeeded(pod, other *podInfo, n *node, change int) {
	if len(pod.needs) == 0 || !matchesAll(pod.needs, other.Pod) {
		return
	}
	for i := range pod.needs {
		tally(a.needed, n, pod.needs[i].topologyKey, change)
	}
}

func (a *affinity) countAvoided(pod, other *podInfo, n *node, change int) {
	for i := range pod.avoids {
		if t := &pod.avoids[i]; t.matches(other.Pod, nil) {
			tally(a.avoided, n, t.topologyKey, change)
		}
	}
}

func matchesAll(terms []term, pod *v1.Pod) bool {
	for i := range terms {
		if !terms[i].matches(pod, nil) {
			return false
		}
	}
	return true
}

// tally keeps no places with nothing in them: an empty map says that there is
// nobody to be near to.
func tally(m map[place]int, n *node, key string, change int) {
	if n.object == nil {
		return
	}
	value, ok := n.object.Labels[key]
	if !ok {
		return
	}
	p := place{key, value}
	if m[p] += change; m[p] == 0 {
		delete(m, p)
	}
}

func podAffinity(q *question, n *node) []Reason {
	if !nearNeeded(q, n) {
		return lonely
	}
	for i := range q.pod.avoids {
		if count(q.affinity.avoided, n, q.pod.avoids[i].topologyKey) > 0 {
			return crowded
		}
	}
	if len(q.affinity.avoidit) > 0 {
		for key, value := range n.object.Labels {
			if q.affinity.avoidit[place{key, value}] > 0 {
				return othersAvoid
			}
		}
	}
	return nil
}

// nearNeeded: every term has its pod in the node's place. The first pod of a
// group that wants to be together is near enough to itself.
func nearNeeded(q *question, n *node) bool {
	near := true
	for i := range q.pod.needs {
		key := q.pod.needs[i].topologyKey
		if _, ok := n.object.Labels[key]; !ok {
			return false
		}
		near = near && count(q.affinity.needed, n, key) > 0
	}
	return near || len(q.affinity.needed) == 0 && matchesAll(q.pod.needs, q.pod.Pod)
}

func count(m map[place]int, n *node, key string) int {
	value, ok := n.object.Labels[key]
	if !ok {
		return 0
	}
	return m[place{key, value}]
}
