package shutdown

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// critical is the priority from which pods are the system's own.
const critical int32 = 2_000_000_000

// Step gives pods from a priority on (up to the next step's) some time to end.
type Step struct {
	Priority int32
	Grace    time.Duration
}

// Steps of a shutdown that may take total, of which the last part is for critical
// pods: what the stock node agent's two simple settings mean. None for zero.
func Steps(total, forCritical time.Duration) ([]Step, field.ErrorList) {
	var errs field.ErrorList
	whole := func(name string, d time.Duration) {
		if d < 0 || d%time.Second != 0 {
			errs = append(errs, field.Invalid(field.NewPath(name), d.String(), "must be whole seconds, not below zero"))
		}
	}
	whole("shutdownGracePeriod", total)
	whole("shutdownGracePeriodCriticalPods", forCritical)
	if forCritical > total {
		errs = append(errs, field.Invalid(field.NewPath("shutdownGracePeriodCriticalPods"), forCritical.String(), "must not be more than shutdownGracePeriod"))
	}
	if len(errs) > 0 || total == 0 {
		return nil, errs
	}
	return []Step{{0, total - forCritical}, {critical, forCritical}}, nil
}

// Total is how long a shutdown may take.
func Total(steps []Step) time.Duration {
	var sum time.Duration
	for _, s := range steps {
		sum += s.Grace
	}
	return sum
}

// Group of pods that end at the same time.
type Group struct {
	Step
	Pods []*v1.Pod
}

// Plan sorts the pods that have not ended into the steps, the least important
// first. Below the first step, pods go with the first; every group is there, also
// if nobody is in it.
func Plan(pods []*v1.Pod, steps []Step) []Group {
	groups := make([]Group, len(steps))
	for i, s := range slices.SortedFunc(slices.Values(steps), func(a, b Step) int { return cmp.Compare(a.Priority, b.Priority) }) {
		groups[i].Step = s
	}
	if len(groups) == 0 {
		return nil
	}
	for _, pod := range pods {
		if ended(pod) {
			continue
		}
		at := 0
		for at+1 < len(groups) && groups[at+1].Priority <= priority(pod) {
			at++
		}
		groups[at].Pods = append(groups[at].Pods, pod)
	}
	return groups
}

// Grace of a pod in a group: its own, if that is shorter.
func (g *Group) grace(pod *v1.Pod) time.Duration {
	own := pod.Spec.TerminationGracePeriodSeconds
	if own == nil {
		return g.Grace
	}
	return min(g.Grace, time.Duration(max(*own, 0))*time.Second)
}

func priority(pod *v1.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}

func ended(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}
