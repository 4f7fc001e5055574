package disruption

import (
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/apps/poddisruptionbudget"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// deletionTimeout is how long an evicted pod counts as gone before it is: after
// that, whoever evicted it has failed.
const deletionTimeout = 2 * time.Minute

// staleAfter is how long a pod may be said to be disrupted without being deleted.
const staleAfter = 2 * time.Minute

// bySize says that a budget is relative to how many pods their controllers want.
func bySize(b *policyv1.PodDisruptionBudget) bool {
	return b.Spec.MaxUnavailable != nil || b.Spec.MinAvailable != nil && b.Spec.MinAvailable.Type == intstr.String
}

// bounds of a budget: how many pods there should be, and how many must be healthy.
func bounds(b *policyv1.PodDisruptionBudget, pods, wanted int) (expected, desired int32, err error) {
	switch spec := b.Spec; {
	case spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, wanted, true)
		return int32(wanted), int32(max(0, wanted-n)), err
	case spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.Int:
		return int32(pods), spec.MinAvailable.IntVal, nil
	case spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, wanted, true)
		return int32(wanted), int32(n), err
	}
	return 0, 0, nil
}

// outcome of looking at a budget.
type outcome struct {
	status  policyv1.PodDisruptionBudgetStatus
	lost    []*v1.Pod // evicted long ago and still there
	recheck time.Duration
}

// plan computes the status. wanted is what the pods' controllers want in all.
func plan(b *policyv1.PodDisruptionBudget, pods []*v1.Pod, wanted int, now time.Time) (outcome, error) {
	expected, desired, err := bounds(b, len(pods), wanted)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{status: policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: b.Generation, ExpectedPods: expected, DesiredHealthy: desired, DisruptedPods: map[string]metav1.Time{}, Conditions: b.Status.DeepCopy().Conditions,
	}}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		if since, evicted := b.Status.DisruptedPods[p.Name]; evicted {
			left := since.Add(deletionTimeout).Sub(now)
			if left > 0 {
				o.status.DisruptedPods[p.Name] = since
				o.recheck = podcontrol.Sooner(o.recheck, left)
				continue
			}
			o.lost = append(o.lost, p)
		}
		if podcontrol.Ready(p) {
			o.status.CurrentHealthy++
		}
	}
	if spare := o.status.CurrentHealthy - desired; expected > 0 && spare > 0 {
		o.status.DisruptionsAllowed = spare
	}
	updated := &policyv1.PodDisruptionBudget{Status: o.status}
	poddisruptionbudget.UpdateDisruptionAllowedCondition(updated)
	o.status = updated.Status
	return o, nil
}

// failed allows no disruption, since it isn't known what it would do.
func failed(b *policyv1.PodDisruptionBudget, err error) policyv1.PodDisruptionBudgetStatus {
	st := *b.Status.DeepCopy()
	st.DisruptionsAllowed = 0
	apimeta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: err.Error(), ObservedGeneration: st.ObservedGeneration,
	})
	return st
}

// staleIn says in what time a pod's condition DisruptionTarget is to be taken
// back, if it has one that nobody has followed up.
func staleIn(p *v1.Pod, now time.Time) (in time.Duration, has bool) {
	c := podcontrol.Condition(p, v1.DisruptionTarget)
	if p.DeletionTimestamp != nil || podcontrol.Ended(p) || c == nil || c.Status != v1.ConditionTrue || c.Reason == v1.PodReasonTerminationByKubelet {
		return 0, false
	}
	return max(0, c.LastTransitionTime.Add(staleAfter).Sub(now)), true
}
