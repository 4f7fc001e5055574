package scheduler

import (
	"maps"
	"math"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// spread is one topology spread constraint with the matching pods counted by
// place: the values of its topology key on the nodes that it counts.
type spread struct {
	constraint
	places map[string]int
	counts func(*node) bool // the node is one of those to spread over
}

// constraint is a topology spread constraint worked out for a pod.
type constraint struct {
	key               string
	selector          labels.Selector
	maxSkew           int
	minDomains        int
	honorAffinity     bool
	honorTaints       bool
	namespace         string
	selfMatch         bool
	everyConstraintOn func(*node) bool // the node has all constraints' keys
}

var (
	noPlace    = []Reason{{"node(s) didn't match pod topology spread constraints (missing required label)", false, OfSpread}}
	skewsPlace = []Reason{{"node(s) didn't match pod topology spread constraints", true, OfSpread}}
)

func hardConstraints(pod *v1.Pod) []constraint {
	return constraintsOf(pod, pod.Spec.TopologySpreadConstraints, v1.DoNotSchedule)
}

func constraintsOf(pod *v1.Pod, list []v1.TopologySpreadConstraint, action v1.UnsatisfiableConstraintAction) (out []constraint) {
	var keys []string
	for i := range list {
		t := &list[i]
		if t.WhenUnsatisfiable != action {
			continue
		}
		c := constraint{
			key: t.TopologyKey, selector: withLabelKeys(pod, t), maxSkew: int(t.MaxSkew), minDomains: 1, namespace: pod.Namespace,
			honorAffinity: t.NodeAffinityPolicy == nil || *t.NodeAffinityPolicy == v1.NodeInclusionPolicyHonor,
			honorTaints:   t.NodeTaintsPolicy != nil && *t.NodeTaintsPolicy == v1.NodeInclusionPolicyHonor,
		}
		if t.MinDomains != nil {
			c.minDomains = int(*t.MinDomains)
		}
		c.selfMatch = c.selector.Matches(labels.Set(pod.Labels))
		out, keys = append(out, c), append(keys, c.key)
	}
	for i := range out {
		out[i].everyConstraintOn = hasLabels(keys)
	}
	return out
}

func hasLabels(keys []string) func(*node) bool {
	return func(n *node) bool {
		for _, key := range keys {
			if _, ok := n.object.Labels[key]; !ok {
				return false
			}
		}
		return true
	}
}

// withLabelKeys adds what matchLabelKeys names of the pod's own labels. Newer API
// servers have put it into the selector already.
func withLabelKeys(pod *v1.Pod, t *v1.TopologySpreadConstraint) labels.Selector {
	selector := selectorOf(t.LabelSelector)
	own := labels.Set{}
	for _, key := range t.MatchLabelKeys {
		if value, ok := pod.Labels[key]; ok {
			own[key] = value
		}
	}
	requirements, selectable := selector.Requirements()
	if len(own) == 0 || !selectable {
		return selector
	}
	return labels.SelectorFromSet(own).Add(requirements...)
}

// spreads counts the pods of each constraint over the whole cluster.
func (c *Cluster) spreads(q *question, constraints []constraint) (out []spread) {
	for _, t := range constraints {
		s := spread{constraint: t, places: map[string]int{}}
		s.counts = func(n *node) bool {
			return n.object != nil && t.everyConstraintOn(n) && t.includes(q, n)
		}
		for _, n := range c.present() {
			if s.counts(n) {
				s.places[n.object.Labels[t.key]] += 0
			}
		}
		for _, p := range c.byNamespace[t.namespace] {
			s.count(p.node, p.podInfo, 1)
		}
		out = append(out, s)
	}
	return out
}

// includes says that a node is one to spread over, by the constraint's policies.
func (t *constraint) includes(q *question, n *node) bool {
	if t.honorAffinity {
		if match, _ := q.nodes.Match(n.object); !match {
			return false
		}
	}
	return !t.honorTaints || !repels(q.pod.Pod, n.object)
}

func (t *constraint) matches(p *podInfo) bool {
	// A pod that is ending makes room for its replacement.
	return p.Namespace == t.namespace && p.DeletionTimestamp == nil && !t.selector.Empty() && t.selector.Matches(labels.Set(p.Labels))
}

func (s *spread) count(n *node, p *podInfo, change int) {
	if s.matches(p) && s.counts(n) {
		s.places[n.object.Labels[s.key]] += change
	}
}

func (s *spread) least() int {
	if len(s.places) < s.minDomains {
		return 0
	}
	least := math.MaxInt32
	for _, n := range s.places {
		least = min(least, n)
	}
	return least
}

func cloneSpreads(list []spread) []spread {
	out := make([]spread, len(list))
	for i, s := range list {
		s.places = maps.Clone(s.places)
		out[i] = s
	}
	return out
}

func topologySpread(q *question, n *node) []Reason {
	for i := range q.spread {
		s := &q.spread[i]
		place, ok := n.object.Labels[s.key]
		if !ok {
			return noPlace
		}
		count := s.places[place]
		if s.selfMatch {
			count++
		}
		if count-s.least() > s.maxSkew {
			return skewsPlace
		}
	}
	return nil
}

// Where a pod doesn't say how to spread, it and its group spread a little over
// hosts and zones. The figures are the field's.
var groupConstraints = []v1.TopologySpreadConstraint{
	{TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.ScheduleAnyway, MaxSkew: 3},
	{TopologyKey: v1.LabelTopologyZone, WhenUnsatisfiable: v1.ScheduleAnyway, MaxSkew: 5},
}

// softConstraints are those that only scores feel.
func softConstraints(w Wish) []constraint {
	if len(w.Pod.Spec.TopologySpreadConstraints) > 0 {
		return constraintsOf(w.Pod, w.Pod.Spec.TopologySpreadConstraints, v1.ScheduleAnyway)
	}
	if w.Group == nil || w.Group.Empty() {
		return nil
	}
	out := constraintsOf(w.Pod, groupConstraints, v1.ScheduleAnyway)
	for i := range out {
		out[i].selector = w.Group
		// Nodes without a zone still spread over hosts.
		out[i].everyConstraintOn = func(*node) bool { return true }
	}
	return out
}
