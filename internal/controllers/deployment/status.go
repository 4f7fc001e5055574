package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the condition Progressing.
const (
	created   = "NewReplicaSetCreated"
	found     = "FoundNewReplicaSet"
	updated   = "ReplicaSetUpdated"
	complete  = "NewReplicaSetAvailable"
	timedOut  = "ProgressDeadlineExceeded"
	paused    = "DeploymentPaused"
	resumed   = "DeploymentResumed"
	notMade   = "ReplicaSetCreateError"
	enough    = "MinimumReplicasAvailable"
	notEnough = "MinimumReplicasUnavailable"
)

func conditionOf(conditions []appsv1.DeploymentCondition, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range conditions {
		if conditions[i].Type == t {
			return &conditions[i]
		}
	}
	return nil
}

func dropCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

// setCondition changes a condition if its status or reason is another one.
func setCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType, status v1.ConditionStatus, reason, message string, now time.Time) {
	putCondition(s, appsv1.DeploymentCondition{
		Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	})
}

func putCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	have := conditionOf(s.Conditions, c.Type)
	if have != nil && have.Status == c.Status && have.Reason == c.Reason {
		return
	}
	if have != nil && have.Status == c.Status {
		c.LastTransitionTime = have.LastTransitionTime
	}
	dropCondition(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

// counts sums up the sets into a status, with the condition Available.
func counts(d *appsv1.Deployment, current *appsv1.ReplicaSet, sets []*appsv1.ReplicaSet, now time.Time) appsv1.DeploymentStatus {
	s := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		Replicas:           total(sets, existing),
		ReadyReplicas:      total(sets, ready),
		AvailableReplicas:  total(sets, available),
		CollisionCount:     d.Status.CollisionCount,
		Conditions:         slices.Clone(d.Status.Conditions),
	}
	if current != nil {
		s.UpdatedReplicas = current.Status.Replicas
	}
	s.UnavailableReplicas = max(0, total(sets, size)-s.AvailableReplicas)
	s.TerminatingReplicas = terminating(sets)
	if s.AvailableReplicas >= wanted(d)-boundsOf(d).unavailable {
		setCondition(&s, appsv1.DeploymentAvailable, v1.ConditionTrue, enough, "Deployment has minimum availability.", now)
	} else {
		setCondition(&s, appsv1.DeploymentAvailable, v1.ConditionFalse, notEnough, "Deployment does not have minimum availability.", now)
	}
	return s
}

// terminating pods, unless a set that was seen doesn't tell.
func terminating(sets []*appsv1.ReplicaSet) *int32 {
	sum := int32(0)
	for _, rs := range sets {
		switch {
		case rs.Status.TerminatingReplicas != nil:
			sum += *rs.Status.TerminatingReplicas
		case rs.Status.ObservedGeneration != 0:
			return nil
		}
	}
	return &sum
}

func isComplete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := wanted(d)
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

func progresses(before, now *appsv1.DeploymentStatus) bool {
	return now.UpdatedReplicas > before.UpdatedReplicas ||
		now.Replicas-now.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		now.ReadyReplicas > before.ReadyReplicas || now.AvailableReplicas > before.AvailableReplicas
}

// rolloutStatus is counts with how the rollout gets on. recheck says when the
// deadline has to be looked at again.
func rolloutStatus(d *appsv1.Deployment, current *appsv1.ReplicaSet, sets []*appsv1.ReplicaSet, now time.Time) (s appsv1.DeploymentStatus, recheck time.Duration) {
	s = counts(d, current, sets, now)
	progress(d, current, &s, now)
	dropFailure := true
	for _, rs := range append([]*appsv1.ReplicaSet{current}, sets...) {
		if f := failureOf(rs); f != nil {
			putCondition(&s, *f)
			dropFailure = false
			break
		}
	}
	if dropFailure {
		dropCondition(&s, appsv1.DeploymentReplicaFailure)
	}
	return s, deadlineIn(d, &s, now)
}

func progress(d *appsv1.Deployment, current *appsv1.ReplicaSet, s *appsv1.DeploymentStatus, now time.Time) {
	if !hasDeadline(d) {
		dropCondition(s, appsv1.DeploymentProgressing)
		return
	}
	have := conditionOf(d.Status.Conditions, appsv1.DeploymentProgressing)
	if have != nil && have.Reason == complete && s.Replicas == s.UpdatedReplicas {
		return // no rollout is going on
	}
	subject := fmt.Sprintf("Deployment %q", d.Name)
	if current != nil {
		subject = fmt.Sprintf("ReplicaSet %q", current.Name)
	}
	set := func(status v1.ConditionStatus, reason, what string) {
		setCondition(s, appsv1.DeploymentProgressing, status, reason, subject+what, now)
	}
	switch {
	case isComplete(d, s):
		set(v1.ConditionTrue, complete, " has successfully progressed.")
	case progresses(&d.Status, s):
		since := metav1.NewTime(now)
		if have != nil && have.Status == v1.ConditionTrue {
			since = have.LastTransitionTime
		}
		dropCondition(s, appsv1.DeploymentProgressing) // its time is to move, even if nothing else changes
		putCondition(s, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentProgressing, Status: v1.ConditionTrue, Reason: updated, Message: subject + " is progressing.",
			LastUpdateTime: metav1.NewTime(now), LastTransitionTime: since,
		})
	case isLate(d, s, now):
		set(v1.ConditionFalse, timedOut, " has timed out progressing.")
	}
}

func isLate(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) bool {
	c := conditionOf(s.Conditions, appsv1.DeploymentProgressing)
	if c == nil || c.Reason == complete {
		return false
	}
	return c.Reason == timedOut || deadline(d, c).Before(now)
}

func deadline(d *appsv1.Deployment, c *appsv1.DeploymentCondition) time.Time {
	return c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second)
}

func deadlineIn(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) time.Duration {
	c := conditionOf(s.Conditions, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || c.Reason == timedOut || isComplete(d, s) {
		return 0
	}
	return max(deadline(d, c).Sub(now), 0) + time.Second // times of conditions are whole seconds
}

func failureOf(rs *appsv1.ReplicaSet) *appsv1.DeploymentCondition {
	if rs == nil {
		return nil
	}
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure {
			return &appsv1.DeploymentCondition{
				Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
				LastUpdateTime: c.LastTransitionTime, LastTransitionTime: c.LastTransitionTime,
			}
		}
	}
	return nil
}
