package podcontrol

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Active says that a pod has not ended and is not about to.
func Active(p *v1.Pod) bool { return !Ended(p) && p.DeletionTimestamp == nil }

// Ended says that a pod is done, one way or the other.
func Ended(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}

// Terminating says that a pod is on its way out and still there.
func Terminating(p *v1.Pod) bool { return !Ended(p) && p.DeletionTimestamp != nil }

// Condition of a pod, or nil.
func Condition(p *v1.Pod, t v1.PodConditionType) *v1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// Ready says that a pod serves.
func Ready(p *v1.Pod) bool {
	c := Condition(p, v1.PodReady)
	return c != nil && c.Status == v1.ConditionTrue
}

// Available says that a pod has been ready for long enough; if it is ready only,
// in says after what time it will be.
func Available(p *v1.Pod, minReadySeconds int32, now time.Time) (yes bool, in time.Duration) {
	c := Condition(p, v1.PodReady)
	if c == nil || c.Status != v1.ConditionTrue {
		return false, 0
	}
	if minReadySeconds == 0 {
		return true, 0
	}
	left := c.LastTransitionTime.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
	if c.LastTransitionTime.IsZero() {
		left = time.Duration(minReadySeconds) * time.Second
	}
	return left <= 0, max(left, 0)
}

// Sooner is the smaller of two waits, of which zero is none.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Filter keeps the pods that pass.
func Filter(pods []*v1.Pod, pass func(*v1.Pod) bool) []*v1.Pod {
	var kept []*v1.Pod
	for _, p := range pods {
		if pass(p) {
			kept = append(kept, p)
		}
	}
	return kept
}
