package podcontrol

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// SortForDeletion puts first the pods whose loss costs least, in the order that
// the API documents: not scheduled, pending, not ready, low deletion cost, those
// that share a node with many of the related, recently ready, often restarted,
// young. Ages are compared by their order of magnitude, and by UID where that is
// the same, so that scaling down doesn't always hit the newest.
func SortForDeletion(pods, related []*v1.Pod, now time.Time) {
	onNode := map[string]int{}
	for _, p := range related {
		if Active(p) {
			onNode[p.Spec.NodeName]++
		}
	}
	slices.SortStableFunc(pods, func(a, b *v1.Pod) int {
		return cmp.Or(
			before(a.Spec.NodeName == "", b.Spec.NodeName == ""),
			cmp.Compare(phaseOrder(a), phaseOrder(b)),
			before(!Ready(a), !Ready(b)),
			cmp.Compare(deletionCost(a), deletionCost(b)),
			cmp.Compare(onNode[b.Spec.NodeName], onNode[a.Spec.NodeName]),
			byReadyTime(a, b, now),
			byRestarts(a, b),
			byAge(a.CreationTimestamp.Time, b.CreationTimestamp.Time, a, b, now),
		)
	})
}

// before puts the one first for which something holds.
func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func phaseOrder(p *v1.Pod) int {
	switch p.Status.Phase {
	case v1.PodPending:
		return 0
	case v1.PodRunning:
		return 2
	}
	return 1
}

func deletionCost(p *v1.Pod) int32 {
	value := p.Annotations[v1.PodDeletionCost]
	if strings.HasPrefix(value, "+") || len(value) > 1 && value[0] == '0' {
		return 0 // not the canonical form
	}
	cost, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

func byReadyTime(a, b *v1.Pod, now time.Time) int {
	if !Ready(a) || !Ready(b) {
		return 0
	}
	return byAge(Condition(a, v1.PodReady).LastTransitionTime.Time, Condition(b, v1.PodReady).LastTransitionTime.Time, a, b, now)
}

func byAge(ta, tb time.Time, a, b *v1.Pod, now time.Time) int {
	switch {
	case ta.Equal(tb):
		return 0
	case ta.IsZero() || tb.IsZero():
		return before(ta.IsZero(), tb.IsZero())
	}
	return cmp.Or(cmp.Compare(magnitude(now.Sub(ta)), magnitude(now.Sub(tb))), cmp.Compare(a.UID, b.UID))
}

func magnitude(age time.Duration) int {
	if age <= 0 {
		return -1
	}
	return int(math.Log2(float64(age)))
}

func byRestarts(a, b *v1.Pod) int {
	aMain, aSidecars := maxRestarts(a)
	bMain, bSidecars := maxRestarts(b)
	return cmp.Or(cmp.Compare(bMain, aMain), cmp.Compare(bSidecars, aSidecars))
}

func maxRestarts(p *v1.Pod) (main, sidecars int32) {
	for _, c := range p.Status.ContainerStatuses {
		main = max(main, c.RestartCount)
	}
	always := map[string]bool{}
	for _, c := range p.Spec.InitContainers {
		always[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
	}
	for _, c := range p.Status.InitContainerStatuses {
		if always[c.Name] {
			sidecars = max(sidecars, c.RestartCount)
		}
	}
	return main, sidecars
}
