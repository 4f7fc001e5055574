package cronjob

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/controllers/job"
)

// Kind of the owners.
var Kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

// step is what is to be done now.
type step struct {
	status  batchv1.CronJobStatus
	remove  []*batchv1.Job
	replace []v1.ObjectReference // running jobs that make room for the new one
	create  *batchv1.Job
	at      time.Time // the start that create is for
	events  []event
	recheck time.Duration
}

type event struct{ kind, reason, message string }

func (s *step) warn(reason, format string, args ...any) {
	s.events = append(s.events, event{v1.EventTypeWarning, reason, fmt.Sprintf(format, args...)})
}

func (s *step) note(reason, format string, args ...any) {
	s.events = append(s.events, event{v1.EventTypeNormal, reason, fmt.Sprintf(format, args...)})
}

// plan looks at a CronJob and its jobs. missing are those of status.active that
// the API server says are gone.
func plan(cj *batchv1.CronJob, jobs []*batchv1.Job, missing map[types.UID]bool, now time.Time) step {
	s := step{status: *cj.Status.DeepCopy()}
	s.remove = history(cj, jobs)
	s.observe(jobs, missing)
	if cj.DeletionTimestamp == nil {
		s.start(cj, now)
	}
	return s
}

// observe brings the list of running jobs up to date.
func (s *step) observe(jobs []*batchv1.Job, missing map[types.UID]bool) {
	for _, j := range jobs {
		known := slices.ContainsFunc(s.status.Active, func(r v1.ObjectReference) bool { return r.UID == j.UID })
		end, finished := job.Finished(j)
		switch {
		case !finished && !known:
			s.warn("UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
		case finished && known:
			s.drop(j.UID)
			s.note("SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, end.Type)
		}
		if finished && end.Type == batchv1.JobComplete && j.Status.CompletionTime != nil {
			if last := s.status.LastSuccessfulTime; last == nil || j.Status.CompletionTime.After(last.Time) {
				s.status.LastSuccessfulTime = j.Status.CompletionTime
			}
		}
	}
	for _, r := range slices.Clone(s.status.Active) {
		if missing[r.UID] {
			s.note("MissingJob", "Active job went missing: %v", r.Name)
			s.drop(r.UID)
		}
	}
}

func (s *step) drop(uid types.UID) {
	s.status.Active = slices.DeleteFunc(slices.Clone(s.status.Active), func(r v1.ObjectReference) bool { return r.UID == uid })
}

// start decides whether a job is to be made now.
func (s *step) start(cj *batchv1.CronJob, now time.Time) {
	if cj.Spec.TimeZone != nil {
		if _, err := time.LoadLocation(*cj.Spec.TimeZone); err != nil {
			s.warn("UnknownTimeZone", "invalid timeZone: %q: %s", *cj.Spec.TimeZone, err)
			return
		}
	}
	if cj.Spec.Suspend != nil && *cj.Spec.Suspend {
		return
	}
	if strings.Contains(cj.Spec.Schedule, "TZ") {
		s.warn("UnsupportedSchedule", "CRON_TZ or TZ used in schedule %q is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details", cj.Spec.Schedule)
	}
	schedule, err := parse(cj)
	if err != nil {
		s.warn("UnparseableSchedule", "unparseable schedule: %q : %s", cj.Spec.Schedule, err)
		return
	}
	at, missed, err := due(schedule, earliest(cj, now), now)
	if err != nil {
		s.warn("InvalidSchedule", "invalid schedule: %s : %s", cj.Spec.Schedule, err)
		return
	}
	s.recheck = until(schedule, cj, now)
	if at.IsZero() {
		return
	}
	if missed > manyMissed {
		s.warn("TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	s.startAt(cj, at, now)
}

func (s *step) startAt(cj *batchv1.CronJob, at, now time.Time) {
	if d := cj.Spec.StartingDeadlineSeconds; d != nil && at.Add(time.Duration(*d)*time.Second).Before(now) {
		s.warn("MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return
	}
	name := jobName(cj, at)
	made := slices.ContainsFunc(s.status.Active, func(r v1.ObjectReference) bool { return r.Name == name })
	if made || s.status.LastScheduleTime != nil && s.status.LastScheduleTime.Time.Equal(at) {
		return
	}
	if len(s.status.Active) > 0 {
		switch cj.Spec.ConcurrencyPolicy {
		case batchv1.ForbidConcurrent:
			s.note("JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
			return
		case batchv1.ReplaceConcurrent:
			s.replace = s.status.Active
		}
	}
	s.create, s.at = newJob(cj, at), at
}

// jobName is the same for the same start, so that it is never made twice.
func jobName(cj *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60)
}

func newJob(cj *batchv1.CronJob, at time.Time) *batchv1.Job {
	zone := time.UTC
	if cj.Spec.TimeZone != nil {
		if z, err := time.LoadLocation(*cj.Spec.TimeZone); err == nil {
			zone = z
		}
	}
	annotations := maps.Clone(cj.Spec.JobTemplate.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.In(zone).Format(time.RFC3339)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: jobName(cj, at), Namespace: cj.Namespace, Labels: maps.Clone(cj.Spec.JobTemplate.Labels), Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cj, Kind)},
		},
		Spec: *cj.Spec.JobTemplate.Spec.DeepCopy(),
	}
}

// history says which finished jobs are more than are to be kept, oldest first.
func history(cj *batchv1.CronJob, jobs []*batchv1.Job) (remove []*batchv1.Job) {
	for t, limit := range map[batchv1.JobConditionType]*int32{
		batchv1.JobComplete: cj.Spec.SuccessfulJobsHistoryLimit, batchv1.JobFailed: cj.Spec.FailedJobsHistoryLimit,
	} {
		if limit == nil {
			continue
		}
		var ended []*batchv1.Job
		for _, j := range jobs {
			if end, finished := job.Finished(j); finished && end.Type == t && j.DeletionTimestamp == nil {
				ended = append(ended, j)
			}
		}
		slices.SortFunc(ended, func(a, b *batchv1.Job) int { return cmp.Or(byStart(a, b), strings.Compare(a.Name, b.Name)) })
		remove = append(remove, ended[:max(0, len(ended)-int(*limit))]...)
	}
	return remove
}

func byStart(a, b *batchv1.Job) int {
	switch x, y := a.Status.StartTime, b.Status.StartTime; {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return 1
	case y == nil:
		return -1
	default:
		return x.Compare(y.Time)
	}
}
