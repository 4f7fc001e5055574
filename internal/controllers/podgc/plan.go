package podgc

import (
	"sort"
	"time"

	v1 "k8s.io/api/core/v1"
)

// keep is how many ended pods stay for their logs and statuses.
const keep = 12500

// missingGrace is how long a node may be unknown before its pods are given up.
const missingGrace = 40 * time.Second

// removal of one pod.
type removal struct {
	pod *v1.Pod
	// fail: mark it Failed before, since nobody else will ever tell how it ended.
	fail    bool
	message string
}

// plan says which pods nobody will end any more, and which ended ones are too
// many. missing gives, for a node that is not there, since when.
func plan(pods []*v1.Pod, missing map[string]time.Time, now time.Time) []removal {
	var removals []removal
	var done []*v1.Pod
	for _, p := range pods {
		since, gone := missing[p.Spec.NodeName]
		switch {
		case p.Spec.NodeName != "" && gone && now.Sub(since) >= missingGrace:
			removals = append(removals, removal{p, !ended(p), "PodGC: node no longer exists"})
		case p.Spec.NodeName == "" && p.DeletionTimestamp != nil:
			removals = append(removals, removal{p, !ended(p), "PodGC: unscheduled pod was deleted"})
		case ended(p) && p.DeletionTimestamp == nil:
			done = append(done, p)
		}
	}
	if len(done) <= keep {
		return removals
	}
	sort.Slice(done, func(i, j int) bool { return done[i].CreationTimestamp.Before(&done[j].CreationTimestamp) })
	for _, p := range done[:len(done)-keep] {
		removals = append(removals, removal{pod: p})
	}
	return removals
}

func ended(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}
