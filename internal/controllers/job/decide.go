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

// burst is how many pods are made or deleted in one go.
const burst = 500

// snapshot is a Job and its pods; those whose finalizer is known to be gone are
// shown without it. The Job is a copy, whose status becomes the new one.
type snapshot struct {
	job     *batchv1.Job
	pods    []*v1.Pod
	backoff backoff
	now     time.Time
}

// decision over a Job.
type decision struct {
	finish  *batchv1.JobCondition // FailureTarget or SuccessCriteriaMet, if the end is near
	remove  []*v1.Pod
	uncount bool // removed pods are not to be counted: take their finalizer first
	create  []*v1.Pod
	events  []event
	recheck time.Duration
	backoff backoff // to keep once the status is written

	active    []*v1.Pod
	done      indexes // succeeded, those not yet counted included
	counted   indexes // of these, those in the status
	failed    indexes
	perIndex  bool
	replacing map[int]*v1.Pod // failed pods that wait for their replacement
}

type event struct{ kind, reason, message string }

// decide looks at everything once.
func decide(s snapshot) decision {
	j := s.job
	st := &j.Status
	if st.UncountedTerminatedPods == nil {
		st.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	d := decision{active: podcontrol.Filter(s.pods, podcontrol.Active), perIndex: isIndexed(j) && j.Spec.BackoffLimitPerIndex != nil}
	newSucceeded := fresh(s, st.UncountedTerminatedPods.Succeeded, func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded })
	newFailed := fresh(s, st.UncountedTerminatedPods.Failed, func(p *v1.Pod) bool { return hasFailed(j, p) })
	succeeded := int(st.Succeeded) + len(newSucceeded) + len(st.UncountedTerminatedPods.Succeeded)
	failed := int(st.Failed) + len(podcontrol.Filter(newFailed, func(p *v1.Pod) bool { return judge(j, p).countsAsFailure() })) + len(st.UncountedTerminatedPods.Failed)
	d.backoff = s.backoff.after(newSucceeded, newFailed)
	if st.StartTime == nil && !suspended(j) {
		st.StartTime = &metav1.Time{Time: s.now}
	}

	d.finish = standing(s)
	if d.finish == nil {
		d.finish = d.failure(s, failed)
	}
	if isIndexed(j) {
		d.readIndexes(s)
		succeeded = d.done.total()
		if d.finish == nil {
			d.finish = d.indexesEnd(s)
		}
	}
	if d.finish != nil {
		d.remove = d.active
		return d
	}
	if j.DeletionTimestamp == nil {
		d.manage(s, succeeded)
	}
	if enough(j, succeeded) && len(d.active)+len(d.create)-len(d.remove) == 0 {
		d.finish = condition(batchv1.JobSuccessCriteriaMet, v1.ConditionTrue, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods", s.now)
		return d
	}
	if j.DeletionTimestamp == nil {
		d.noteSuspension(s)
	}
	return d
}

func suspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// fresh pods are those that ended and are not in the status yet.
func fresh(s snapshot, uncounted []types.UID, ended func(*v1.Pod) bool) []*v1.Pod {
	return podcontrol.Filter(s.pods, func(p *v1.Pod) bool {
		return isTracked(p) && !slices.Contains(uncounted, p.UID) && counts(s.job, p) && ended(p)
	})
}

// standing is the end that was decided before, or that the failure policy wants.
func standing(s snapshot) *batchv1.JobCondition {
	if c := conditionOf(s.job, batchv1.JobSuccessCriteriaMet); c != nil {
		return c
	}
	if c := conditionOf(s.job, batchv1.JobFailureTarget); c != nil {
		return c
	}
	for _, p := range s.pods {
		if !hasFailed(s.job, p) {
			continue
		}
		if v := judge(s.job, p); v.message != "" {
			return condition(batchv1.JobFailureTarget, v1.ConditionTrue, batchv1.JobReasonPodFailurePolicy, v.message, s.now)
		}
	}
	return nil
}

// failure by too many pods or too much time.
func (d *decision) failure(s snapshot, failed int) *batchv1.JobCondition {
	spec := &s.job.Spec
	limit := int32(6)
	if spec.BackoffLimit != nil {
		limit = *spec.BackoffLimit
	}
	if failed > int(limit) || restartedTooOften(s, limit) {
		return condition(batchv1.JobFailureTarget, v1.ConditionTrue, batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit", s.now)
	}
	if spec.ActiveDeadlineSeconds == nil || suspended(s.job) || s.job.Status.StartTime == nil {
		return nil
	}
	left := time.Duration(*spec.ActiveDeadlineSeconds)*time.Second - s.now.Sub(s.job.Status.StartTime.Time)
	if left <= 0 {
		return condition(batchv1.JobFailureTarget, v1.ConditionTrue, batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline", s.now)
	}
	d.recheck = podcontrol.Sooner(d.recheck, left)
	return nil
}

// restartedTooOften counts the restarts of containers, where these stand for
// failed pods.
func restartedTooOften(s snapshot, limit int32) bool {
	if s.job.Spec.Template.Spec.RestartPolicy != v1.RestartPolicyOnFailure {
		return false
	}
	restarts := int32(0)
	for _, p := range s.pods {
		if p.Status.Phase != v1.PodRunning && p.Status.Phase != v1.PodPending {
			continue
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			restarts += c.RestartCount
		}
	}
	return restarts > 0 && restarts >= limit
}

func (d *decision) readIndexes(s snapshot) {
	j := s.job
	d.counted = parseIndexes(j.Status.CompletedIndexes, completions(j))
	tracked := podcontrol.Filter(s.pods, func(p *v1.Pod) bool { return isTracked(p) && counts(j, p) })
	d.done = d.counted.with(indexesOf(podcontrol.Filter(tracked, func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded }))...)
	if !d.perIndex {
		return
	}
	if j.Status.FailedIndexes != nil {
		d.failed = parseIndexes(*j.Status.FailedIndexes, completions(j))
	}
	d.failed = d.failed.with(indexesOf(podcontrol.Filter(tracked, func(p *v1.Pod) bool { return failsIndex(j, p) }))...)
	d.replacing = replacing(j, tracked, d.done.and(d.failed).with(indexesOf(d.active)...))
}

// replacing finds, for every index without a verdict and without an active pod,
// its last failed pod: it stays until its replacement has taken over its counts.
func replacing(j *batchv1.Job, tracked []*v1.Pod, settled indexes) map[int]*v1.Pod {
	last := map[int]*v1.Pod{}
	for _, p := range tracked {
		i, _ := indexOf(p)
		if !hasFailed(j, p) || settled.has(i) {
			continue
		}
		before := last[i]
		if before == nil || sum(failures(before)) <= sum(failures(p)) && !endOf(p).Before(endOf(before)) {
			last[i] = p
		}
	}
	return last
}

func sum(a, b int) int { return a + b }

func (d *decision) indexesEnd(s snapshot) *batchv1.JobCondition {
	j := s.job
	if d.perIndex {
		if j.Spec.MaxFailedIndexes != nil && d.failed.total() > int(*j.Spec.MaxFailedIndexes) {
			return condition(batchv1.JobFailureTarget, v1.ConditionTrue, batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes", s.now)
		}
		if n := d.failed.total(); n > 0 && n+d.done.total() >= completions(j) {
			return condition(batchv1.JobFailureTarget, v1.ConditionTrue, batchv1.JobReasonFailedIndexes, "Job has failed indexes", s.now)
		}
	}
	if message, yes := hasSucceeded(j, d.done); yes {
		return condition(batchv1.JobSuccessCriteriaMet, v1.ConditionTrue, batchv1.JobReasonSuccessPolicy, message, s.now)
	}
	return nil
}

func enough(j *batchv1.Job, succeeded int) bool {
	if j.Spec.Completions == nil {
		return succeeded > 0 // any success ends a work queue
	}
	return succeeded >= int(*j.Spec.Completions)
}

// manage decides how many pods run.
func (d *decision) manage(s snapshot, succeeded int) {
	j := s.job
	d.uncount = true
	if suspended(j) {
		d.remove = d.active
		return
	}
	want := 1
	if j.Spec.Parallelism != nil {
		want = int(*j.Spec.Parallelism)
	}
	switch {
	case j.Spec.Completions != nil:
		want = max(0, min(want, int(*j.Spec.Completions)-succeeded))
	case succeeded > 0:
		want = len(d.active)
	}
	if d.remove = superfluous(j, d.active, len(d.active)-want, s.now); len(d.remove) > 0 {
		d.remove = d.remove[:min(len(d.remove), burst)]
		return
	}
	missing := want - len(d.active)
	if replacesEndedOnly(j) {
		missing -= len(podcontrol.Filter(s.pods, podcontrol.Terminating))
	}
	if missing = min(missing, burst); missing > 0 {
		d.add(s, missing)
	}
}

func (d *decision) add(s snapshot, n int) {
	if !d.perIndex {
		if wait := d.backoff.wait(s.now); wait > 0 {
			d.recheck = podcontrol.Sooner(d.recheck, wait)
			return
		}
	}
	if !isIndexed(s.job) {
		for range n {
			d.create = append(d.create, newPod(s.job))
		}
		return
	}
	taken := d.done.and(d.failed).with(indexesOf(d.active)...)
	if replacesEndedOnly(s.job) {
		taken = taken.with(indexesOf(podcontrol.Filter(s.pods, podcontrol.Terminating))...)
	}
	for _, i := range taken.missing(n, completions(s.job)) {
		if wait := indexWait(d.replacing[i], s.now); wait > 0 {
			d.recheck = podcontrol.Sooner(d.recheck, wait)
			continue
		}
		d.create = append(d.create, newIndexedPod(s.job, i, d.replacing[i]))
	}
}

func (d *decision) noteSuspension(s snapshot) {
	if suspended(s.job) {
		if ensure(s.job, condition(batchv1.JobSuspended, v1.ConditionTrue, "JobSuspended", "Job suspended", s.now)) {
			d.events = append(d.events, event{v1.EventTypeNormal, "Suspended", "Job suspended"})
			s.job.Status.StartTime = nil
		}
		return
	}
	if ensure(s.job, condition(batchv1.JobSuspended, v1.ConditionFalse, "JobResumed", "Job resumed", s.now)) {
		d.events = append(d.events, event{v1.EventTypeNormal, "Resumed", "Job resumed"})
		s.job.Status.StartTime = &metav1.Time{Time: s.now}
	}
}
