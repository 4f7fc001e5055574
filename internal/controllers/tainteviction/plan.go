package tainteviction

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// banishing are the taints of a node that pods don't survive.
func banishing(node *v1.Node) (taints []v1.Taint) {
	for _, t := range node.Spec.Taints {
		if t.Effect == v1.TaintEffectNoExecute {
			taints = append(taints, t)
		}
	}
	return taints
}

// evictIn says in what time a pod has to go from a node with these taints: at
// once if it doesn't tolerate one of them, else when its shortest toleration is
// used up, counted from when the taint came or the pod did. stay is true if it
// tolerates them all for ever.
func evictIn(p *v1.Pod, taints []v1.Taint, now time.Time) (in time.Duration, stay bool) {
	stay = true
	for i := range taints {
		limit, tolerated, forever := tolerance(p.Spec.Tolerations, &taints[i])
		if !tolerated {
			return 0, false
		}
		if forever {
			continue
		}
		since := p.CreationTimestamp.Time
		if t := taints[i].TimeAdded; t != nil && t.After(since) {
			since = t.Time
		}
		if left := max(0, since.Add(limit).Sub(now)); stay || left < in {
			in = left
		}
		stay = false
	}
	return in, stay
}

// tolerance of one taint: the shortest of the tolerations that match it.
func tolerance(tolerations []v1.Toleration, taint *v1.Taint) (limit time.Duration, tolerated, forever bool) {
	forever = true
	for i := range tolerations {
		t := &tolerations[i]
		if !t.ToleratesTaint(klog.Background(), taint, true) {
			continue
		}
		tolerated = true
		if t.TolerationSeconds == nil {
			continue
		}
		d := time.Duration(max(0, *t.TolerationSeconds)) * time.Second
		if forever || d < limit {
			limit = d
		}
		forever = false
	}
	return limit, tolerated, forever
}
