package loop

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// wantOf reads off the object what its owner wants: its deletion, or its life.
// A deletion that was forced left no time; one of an object that is simply gone
// leaves what the pod asked for.
func wantOf(pod *v1.Pod, gone bool, evict *podlife.Want) podlife.Want {
	switch {
	case gone:
		return podlife.Want{Stop: podlife.StopGone, Grace: graceOf(pod)}
	case pod.DeletionTimestamp != nil:
		return podlife.Want{Stop: podlife.StopDeleted, Grace: graceOf(pod)}
	case evict != nil:
		return *evict
	}
	return podlife.Want{}
}

func graceOf(pod *v1.Pod) time.Duration {
	seconds := int64(30)
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		seconds = *pod.DeletionGracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(max(seconds, 0)) * time.Second
}
