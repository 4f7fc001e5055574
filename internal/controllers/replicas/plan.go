// Package replicas keeps a number of like pods: the common part of ReplicaSets
// and ReplicationControllers.
package replicas

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// burst is how many pods are made or deleted in one go.
const burst = 500

// Set is a ReplicaSet or ReplicationController as a value.
type Set struct {
	Object   podcontrol.Owner
	Replicas int32
	MinReady int32 // seconds
	Selector labels.Selector
	Template *v1.PodTemplateSpec
	Status   Status
}

// Status of a set.
type Status struct {
	Replicas, FullyLabeled, Ready, Available, Terminating int32

	ObservedGeneration int64
	Failure            *Failure // of the last attempt to make or delete pods
}

// Failure is the condition ReplicaFailure.
type Failure struct {
	Since           metav1.Time
	Reason, Message string
}

// step is what is to be done now.
type step struct {
	create int
	remove []*v1.Pod
}

// plan compares what is wanted with the set's active pods. related are those of
// the sets that have the same owner.
func plan(s Set, active, related []*v1.Pod, now time.Time) step {
	if s.Object.GetDeletionTimestamp() != nil {
		return step{}
	}
	surplus := len(active) - int(s.Replicas)
	if surplus <= 0 {
		return step{create: min(-surplus, burst)}
	}
	surplus = min(surplus, burst)
	ordered := append([]*v1.Pod(nil), active...)
	if surplus < len(ordered) {
		podcontrol.SortForDeletion(ordered, related, now)
	}
	return step{remove: ordered[:surplus]}
}

// status sums up the pods as they were before the step; failure is what went
// wrong in it. recheck says when a pod becomes available without any event.
func status(s Set, active []*v1.Pod, terminating int, failure error, now time.Time) (st Status, recheck time.Duration) {
	st = Status{Replicas: int32(len(active)), Terminating: int32(terminating), ObservedGeneration: s.Object.GetGeneration()}
	template := labels.SelectorFromSet(s.Template.Labels)
	for _, p := range active {
		if template.Matches(labels.Set(p.Labels)) {
			st.FullyLabeled++
		}
		if podcontrol.Ready(p) {
			st.Ready++
		}
		available, in := podcontrol.Available(p, s.MinReady, now)
		if available {
			st.Available++
		}
		recheck = podcontrol.Sooner(recheck, in)
	}
	if failure != nil {
		st.Failure = &Failure{Since: metav1.NewTime(now), Reason: "FailedCreate", Message: failure.Error()}
		if len(active) > int(s.Replicas) {
			st.Failure.Reason = "FailedDelete"
		}
		if s.Status.Failure != nil {
			st.Failure = s.Status.Failure
		}
	}
	return st, recheck
}
