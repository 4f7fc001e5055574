package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkJobStatus guards a status against whoever runs the job, which may be
// somebody else's controller (spec.managedBy). A rule that the stored status
// breaks already, say because the spec changed since, does not block an update.
func checkJobStatus(j, old *batchv1.Job) field.ErrorList {
	before := old.DeepCopy()
	before.Spec = j.Spec
	known := brokenRules(before)
	broken := slices.DeleteFunc(brokenRules(j), func(e *field.Error) bool {
		return slices.ContainsFunc(known, func(k *field.Error) bool { return k.Field == e.Field && k.Detail == e.Detail })
	})
	return meta.Join(checkJobCounts(j), broken, checkTransitions(j, old))
}

func checkJobCounts(j *batchv1.Job) field.ErrorList {
	path, s := field.NewPath("status"), &j.Status
	errs := meta.Join(
		meta.NonNegative(path.Child("active"), s.Active),
		meta.NonNegative(path.Child("succeeded"), s.Succeeded),
		meta.NonNegative(path.Child("failed"), s.Failed),
		meta.NonNegative(path.Child("ready"), meta.Deref(s.Ready, 0)),
		meta.NonNegative(path.Child("terminating"), meta.Deref(s.Terminating, 0)),
	)
	if s.UncountedTerminatedPods == nil {
		return errs
	}
	seen := sets.New[types.UID]()
	path = path.Child("uncountedTerminatedPods")
	count := func(path *field.Path, uids []types.UID) {
		for i, uid := range uids {
			if uid == "" {
				errs = append(errs, field.Invalid(path.Index(i), uid, "must not be empty"))
			} else if seen.Has(uid) {
				errs = append(errs, field.Duplicate(path.Index(i), uid))
			}
			seen.Insert(uid)
		}
	}
	count(path.Child("succeeded"), s.UncountedTerminatedPods.Succeeded)
	count(path.Child("failed"), s.UncountedTerminatedPods.Failed)
	return errs
}

// brokenRules lists what can't be true of one status at once.
func brokenRules(j *batchv1.Job) field.ErrorList {
	return meta.Join(brokenConditions(j), brokenTimes(j), brokenCounts(j), brokenIndexes(j))
}

func brokenConditions(j *batchv1.Job) field.ErrorList {
	var errs field.ErrorList
	complete, failed := is(j, batchv1.JobComplete), is(j, batchv1.JobFailed)
	failing, met := is(j, batchv1.JobFailureTarget), is(j, batchv1.JobSuccessCriteriaMet)
	refuse := func(broken bool, message string) {
		if broken {
			errs = append(errs, field.Invalid(field.NewPath("status", "conditions"), field.OmitValueType{}, message))
		}
	}
	refuse(complete && failed, "cannot set Complete=True and Failed=true conditions")
	refuse(complete && failing, "cannot set Complete=True and FailureTarget=true conditions")
	refuse(failed && !failing, "cannot set Failed=True condition without the FailureTarget=true condition")
	refuse(complete && !met, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
	refuse(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
	refuse(met && failing, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
	refuse(j.Spec.SuccessPolicy != nil && !met && complete, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")
	return errs
}

func finished(j *batchv1.Job) bool { return is(j, batchv1.JobComplete) || is(j, batchv1.JobFailed) }

func brokenTimes(j *batchv1.Job) field.ErrorList {
	var errs field.ErrorList
	path, start, end := field.NewPath("status"), j.Status.StartTime, j.Status.CompletionTime
	complete := is(j, batchv1.JobComplete)
	if end != nil && !complete {
		errs = append(errs, field.Invalid(path.Child("completionTime"), end, "cannot set completionTime when there is no Complete=True condition"))
	}
	if end == nil && complete {
		errs = append(errs, field.Required(path.Child("completionTime"), "completionTime is required for Complete jobs"))
	}
	if start != nil && end != nil && end.Before(start) {
		errs = append(errs, field.Invalid(path.Child("completionTime"), end, "must be equal to or after `startTime`"))
	}
	nothingToDo := meta.Deref(j.Spec.Suspend, false) && j.Spec.Completions != nil && *j.Spec.Completions == 0
	if start == nil && finished(j) && !nothingToDo {
		errs = append(errs, field.Required(path.Child("startTime"), "startTime is required for finished job"))
	}
	return errs
}

func brokenCounts(j *batchv1.Job) field.ErrorList {
	var errs field.ErrorList
	path, s := field.NewPath("status"), &j.Status
	if finished(j) && s.Active > 0 {
		errs = append(errs, field.Invalid(path.Child("active"), s.Active, "active>0 is invalid for finished job"))
	}
	if uncounted := s.UncountedTerminatedPods; finished(j) && uncounted != nil && len(uncounted.Failed)+len(uncounted.Succeeded) > 0 {
		errs = append(errs, field.Invalid(path.Child("uncountedTerminatedPods"), uncounted, "must be empty for finished job"))
	}
	if n := meta.Deref(s.Terminating, 0); finished(j) && n > 0 {
		errs = append(errs, field.Invalid(path.Child("terminating"), n, "terminating>0 is invalid for finished job"))
	}
	if n := meta.Deref(s.Ready, 0); n > s.Active {
		errs = append(errs, field.Invalid(path.Child("ready"), n, "cannot set more ready pods than active"))
	}
	return errs
}

func brokenIndexes(j *batchv1.Job) field.ErrorList {
	var errs field.ErrorList
	path, s := field.NewPath("status"), &j.Status
	completed, failed := path.Child("completedIndexes"), path.Child("failedIndexes")
	if s.CompletedIndexes != "" && meta.Deref(j.Spec.CompletionMode, batchv1.NonIndexedCompletion) != batchv1.IndexedCompletion {
		errs = append(errs, field.Invalid(completed, s.CompletedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode"))
	}
	if s.FailedIndexes != nil && j.Spec.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Invalid(failed, *s.FailedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
	}
	if j.Spec.Completions == nil {
		return errs
	}
	done, err := parseIndexes(s.CompletedIndexes, *j.Spec.Completions)
	if err != nil {
		errs = append(errs, field.Invalid(completed, s.CompletedIndexes, fmt.Sprintf("error parsing completedIndexes: %v", err)))
	}
	if s.FailedIndexes == nil {
		return errs
	}
	lost, err := parseIndexes(*s.FailedIndexes, *j.Spec.Completions)
	if err != nil && j.Spec.BackoffLimitPerIndex != nil {
		errs = append(errs, field.Invalid(failed, *s.FailedIndexes, fmt.Sprintf("error parsing failedIndexes: %v", err)))
	}
	if index, both := done.overlap(lost); both {
		errs = append(errs, field.Invalid(failed, *s.FailedIndexes, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", index)))
	}
	return errs
}

// checkTransitions: what a job has come to is final.
func checkTransitions(j, old *batchv1.Job) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status")
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		if is(old, t) && !is(j, t) {
			errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, fmt.Sprintf("cannot disable the terminal %s=True condition", t)))
		}
	}
	if j.Status.Failed < old.Status.Failed {
		errs = append(errs, field.Invalid(path.Child("failed"), j.Status.Failed, "cannot decrease the failed counter"))
	}
	if j.Status.Succeeded < old.Status.Succeeded && !scales(j) {
		errs = append(errs, field.Invalid(path.Child("succeeded"), j.Status.Succeeded, "cannot decrease the succeeded counter"))
	}
	if end, before := j.Status.CompletionTime, old.Status.CompletionTime; end != nil && before != nil && !end.Equal(before) {
		errs = append(errs, field.Invalid(path.Child("completionTime"), end, meta.Immutable))
	}
	start, before := j.Status.StartTime, old.Status.StartTime
	if before != nil && !before.Equal(start) && !meta.Deref(j.Spec.Suspend, false) && !resumes(j, old) {
		errs = append(errs, field.Invalid(path.Child("startTime"), start, "field is immutable for unsuspended job once set"))
	}
	met := is(j, batchv1.JobSuccessCriteriaMet)
	if is(old, batchv1.JobSuccessCriteriaMet) && !met {
		errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, "cannot disable the SuccessCriteriaMet=True condition"))
	}
	if is(old, batchv1.JobComplete) && !is(old, batchv1.JobSuccessCriteriaMet) && met {
		errs = append(errs, field.Invalid(path.Child("conditions"), field.OmitValueType{}, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"))
	}
	return errs
}

// scales tells an indexed job that may shrink, and with it its count of successes.
func scales(j *batchv1.Job) bool {
	indexed := meta.Deref(j.Spec.CompletionMode, "") == batchv1.IndexedCompletion
	return indexed && meta.Deref(j.Spec.Completions, -1) == meta.Deref(j.Spec.Parallelism, -1)
}

func resumes(j, old *batchv1.Job) bool {
	return is(old, batchv1.JobSuspended) && slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionFalse
	})
}
