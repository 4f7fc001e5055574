package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// maxUncounted bounds the UIDs in a status.
const maxUncounted = 500

// tracking is the first half of counting.
type tracking struct {
	release []*v1.Pod // their finalizers may go once the status is written
	held    map[types.UID]bool
	more    bool // pods were left for the next round
}

// track notes in the status which pods are to be counted, and what the end will be.
func track(s snapshot, d decision) tracking {
	j := s.job
	t := tracking{held: map[types.UID]bool{}}
	for _, p := range s.pods {
		if isTracked(p) {
			t.held[p.UID] = true
		}
	}
	settle(j, t.held)
	uncounted := j.Status.UncountedTerminatedPods
	var newIndexes []int
	for _, p := range byIndex(s.pods) {
		if !t.held[p.UID] || !mayRelease(j, d, p) {
			continue
		}
		t.release = append(t.release, p)
		switch i, _ := indexOf(p); {
		case p.Status.Phase == v1.PodSucceeded && !slices.Contains(uncounted.Failed, p.UID):
			if isIndexed(j) {
				if counts(j, p) && !d.counted.has(i) {
					newIndexes = append(newIndexes, i) // an index is counted once anyway
				}
			} else if !slices.Contains(uncounted.Succeeded, p.UID) {
				uncounted.Succeeded = append(uncounted.Succeeded, p.UID)
			}
		case hasFailed(j, p) || d.finish != nil && d.finish.Type != batchv1.JobSuccessCriteriaMet:
			if counts(j, p) && !slices.Contains(uncounted.Failed, p.UID) && judge(j, p).countsAsFailure() {
				uncounted.Failed = append(uncounted.Failed, p.UID)
			}
		}
		if len(newIndexes)+len(uncounted.Succeeded)+len(uncounted.Failed) >= maxUncounted {
			t.more = true
			break
		}
	}
	if isIndexed(j) {
		done := d.counted.with(newIndexes...)
		j.Status.CompletedIndexes, j.Status.Succeeded = done.String(), int32(done.total())
		if d.perIndex {
			failed := d.failed.String()
			j.Status.FailedIndexes = &failed
		}
	}
	if d.finish != nil && conditionOf(j, d.finish.Type) == nil {
		j.Status.Conditions = append(j.Status.Conditions, *d.finish)
	}
	return t
}

// mayRelease says that nothing more is to be learned from a pod.
func mayRelease(j *batchv1.Job, d decision, p *v1.Pod) bool {
	if j.DeletionTimestamp != nil || d.finish != nil || p.Status.Phase == v1.PodSucceeded {
		return true
	}
	if !hasFailed(j, p) {
		return false
	}
	i, ok := indexOf(p)
	return !ok || d.replacing[i] == nil || d.replacing[i].UID != p.UID
}

// settle counts the pods that are in the status and have no finalizer any more.
func settle(j *batchv1.Job, held map[types.UID]bool) {
	u := j.Status.UncountedTerminatedPods
	count := func(uids []types.UID) (kept []types.UID, counted int32) {
		for _, uid := range uids {
			if held[uid] {
				kept = append(kept, uid)
			}
		}
		return kept, int32(len(uids) - len(kept))
	}
	var n int32
	u.Succeeded, n = count(u.Succeeded)
	j.Status.Succeeded += n
	u.Failed, n = count(u.Failed)
	j.Status.Failed += n
}

// live counts of the status, after acting: made and removed are pods that were.
func (d decision) live(s snapshot, made int, removed []*v1.Pod) {
	st := &s.job.Status
	active, terminating := len(d.active)+made-len(removed), len(podcontrol.Filter(s.pods, podcontrol.Terminating))+len(removed)
	ready := len(podcontrol.Filter(d.active, podcontrol.Ready)) - len(podcontrol.Filter(removed, podcontrol.Ready))
	a, r, t := int32(active), int32(ready), int32(terminating)
	st.Active, st.Ready, st.Terminating = a, &r, &t
}

// end writes the last condition if nothing is left to wait for.
func end(j *batchv1.Job, finish *batchv1.JobCondition, now time.Time) (events []event) {
	u := j.Status.UncountedTerminatedPods
	if finish == nil || len(u.Succeeded)+len(u.Failed) > 0 || j.Status.Terminating != nil && *j.Status.Terminating > 0 {
		return nil
	}
	if finish.Type == batchv1.JobSuccessCriteriaMet {
		ensure(j, condition(batchv1.JobComplete, v1.ConditionTrue, finish.Reason, finish.Message, now))
		j.Status.CompletionTime = &metav1.Time{Time: now}
		if j.Spec.Completions != nil && j.Status.Succeeded > *j.Spec.Completions {
			events = append(events, event{v1.EventTypeWarning, "TooManySucceededPods", "Too many succeeded pods running after completion count reached"})
		}
		return append(events, event{v1.EventTypeNormal, "Completed", "Job completed"})
	}
	ensure(j, condition(batchv1.JobFailed, v1.ConditionTrue, finish.Reason, finish.Message, now))
	return []event{{v1.EventTypeWarning, finish.Reason, finish.Message}}
}
