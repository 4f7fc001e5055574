package cronjob

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

// noon of some Monday.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func hourly(change ...func(*batchv1.CronJob)) *batchv1.CronJob {
	cj := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "ns", UID: "c", CreationTimestamp: metav1.NewTime(noon.Add(-10 * time.Minute))},
		Spec:       batchv1.CronJobSpec{Schedule: "0 * * * *", ConcurrencyPolicy: batchv1.AllowConcurrent, SuccessfulJobsHistoryLimit: ptr(int32(3)), FailedJobsHistoryLimit: ptr(int32(1))},
	}
	for _, f := range change {
		f(cj)
	}
	return cj
}

func schedule(s string) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Spec.Schedule = s }
}
func policy(p batchv1.ConcurrencyPolicy) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Spec.ConcurrencyPolicy = p }
}
func running(cj *batchv1.CronJob) {
	cj.Status.Active = []v1.ObjectReference{{Name: "old", Namespace: "ns", UID: "old"}}
}
func last(t time.Time) func(*batchv1.CronJob) {
	return func(cj *batchv1.CronJob) { cj.Status.LastScheduleTime = &metav1.Time{Time: t} }
}

func reasons(s step) (reasons []string) {
	for _, e := range s.events {
		reasons = append(reasons, e.reason)
	}
	return reasons
}

func TestPlan(t *testing.T) {
	at := func(t time.Time) string { return t.UTC().Format("15:04") }
	for name, c := range map[string]struct {
		cj      *batchv1.CronJob
		now     time.Time
		start   string
		events  string
		replace int
		recheck time.Duration
	}{
		"not yet":          {cj: hourly(), now: noon.Add(-time.Minute), recheck: time.Minute + skew},
		"due":              {cj: hourly(), now: noon, start: "12:00", recheck: time.Hour + skew},
		"done already":     {cj: hourly(last(noon)), now: noon.Add(time.Second), recheck: time.Hour - time.Second + skew},
		"missed two":       {cj: hourly(), now: noon.Add(90 * time.Minute), start: "13:00", recheck: 30*time.Minute + skew},
		"missed very many": {cj: hourly(schedule("* * * * *")), now: noon.Add(3 * time.Hour), start: "15:00", events: "TooManyMissedTimes", recheck: time.Minute + skew},
		"too late":         {cj: hourly(func(cj *batchv1.CronJob) { cj.Spec.StartingDeadlineSeconds = ptr(int64(60)) }), now: noon.Add(2 * time.Minute), recheck: 58*time.Minute + skew},
		"suspended":        {cj: hourly(func(cj *batchv1.CronJob) { cj.Spec.Suspend = ptr(true) }), now: noon},
		"forbidden":        {cj: hourly(running, policy(batchv1.ForbidConcurrent)), now: noon, events: "JobAlreadyActive", recheck: time.Hour + skew},
		"replaced":         {cj: hourly(running, policy(batchv1.ReplaceConcurrent)), now: noon, start: "12:00", replace: 1, recheck: time.Hour + skew},
		"beside":           {cj: hourly(running), now: noon, start: "12:00", recheck: time.Hour + skew},
		"no schedule":      {cj: hourly(schedule("x")), now: noon, events: "UnparseableSchedule"},
		"never":            {cj: hourly(schedule("59 23 31 2 *")), now: noon, events: "InvalidSchedule"},
		"no such zone":     {cj: hourly(func(cj *batchv1.CronJob) { cj.Spec.TimeZone = ptr("Mars/Base") }), now: noon, events: "UnknownTimeZone"},
		"every":            {cj: hourly(schedule("@every 1h")), now: noon.Add(2 * time.Hour), start: "13:50", recheck: 50*time.Minute + skew},
		"deleted":          {cj: hourly(func(cj *batchv1.CronJob) { cj.DeletionTimestamp = &metav1.Time{Time: noon} }), now: noon},
	} {
		t.Run(name, func(t *testing.T) {
			s := plan(c.cj, nil, nil, c.now)
			start := ""
			if s.create != nil {
				start = at(s.at)
			}
			if start != c.start || strings.Join(reasons(s), ",") != c.events || len(s.replace) != c.replace || s.recheck != c.recheck {
				t.Errorf("start %q, events %v, replaces %d, again in %v", start, reasons(s), len(s.replace), s.recheck)
			}
		})
	}
}

func TestTheTimeZoneDecides(t *testing.T) {
	cj := hourly(schedule("30 9 * * *"), func(cj *batchv1.CronJob) {
		cj.Spec.TimeZone = ptr("Asia/Tokyo") // nine hours ahead, no summer time
		cj.CreationTimestamp = metav1.NewTime(noon.Add(-24 * time.Hour))
	})
	s := plan(cj, nil, nil, noon)
	if want := noon.Add(-11*time.Hour - 30*time.Minute); !s.at.Equal(want) {
		t.Fatalf("starts %v, want %v", s.at, want)
	}
	if got := s.create.Annotations[batchv1.CronJobScheduledTimestampAnnotation]; got != "2026-03-02T09:30:00+09:00" {
		t.Errorf("scheduled at %s", got)
	}
	if s.create.Name != "c-29540190" {
		t.Errorf("name %s", s.create.Name)
	}
}

func finished(name string, t batchv1.JobConditionType, start int) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Status: batchv1.JobStatus{
			StartTime: &metav1.Time{Time: noon.Add(time.Duration(start) * time.Minute)}, CompletionTime: &metav1.Time{Time: noon.Add(time.Duration(start+1) * time.Minute)},
			Conditions: []batchv1.JobCondition{{Type: t, Status: v1.ConditionTrue}},
		},
	}
}

func TestFinishedJobsAreNotedAndTheOldestRemoved(t *testing.T) {
	jobs := []*batchv1.Job{
		finished("s1", batchv1.JobComplete, 1), finished("s4", batchv1.JobComplete, 4), finished("s2", batchv1.JobComplete, 2), finished("s3", batchv1.JobComplete, 3),
		finished("f1", batchv1.JobFailed, 1), finished("old", batchv1.JobFailed, 2), {ObjectMeta: metav1.ObjectMeta{Name: "stray", UID: "stray"}},
	}
	s := plan(hourly(running, last(noon)), jobs, nil, noon)
	var removed []string
	for _, j := range s.remove {
		removed = append(removed, j.Name)
	}
	slices.Sort(removed)
	if d := cmp.Diff([]string{"f1", "s1"}, removed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"SawCompletedJob", "UnexpectedJob"}, reasons(s)); d != "" {
		t.Error(d)
	}
	if len(s.status.Active) != 0 || !s.status.LastSuccessfulTime.Equal(&metav1.Time{Time: noon.Add(5 * time.Minute)}) {
		t.Errorf("%+v", s.status)
	}
	if gone := plan(hourly(running, last(noon)), nil, map[types.UID]bool{"old": true}, noon); len(gone.status.Active) != 0 || reasons(gone)[0] != "MissingJob" {
		t.Errorf("%+v", gone)
	}
}

// The latest start is the last one that walking the whole schedule would find.
func TestDueFindsTheLatestStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := rapid.SampledFrom([]string{"* * * * *", "*/7 * * * *", "30 6-16/4 * * 1-5", "0 0 1 * *", "5 4 * * 6,0", "@every 90s", "@every 2h"}).Draw(t, "schedule")
		s, err := cron.ParseStandard(spec)
		if err != nil {
			t.Fatal(err)
		}
		since := noon.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "since")) * time.Second)
		now := since.Add(time.Duration(rapid.IntRange(0, 400_000).Draw(t, "later")) * time.Second)
		var want time.Time
		n := 0
		for x := s.Next(since); !x.After(now); x = s.Next(x) {
			want = x
			n++
		}
		got, missed, err := due(s, since, now)
		if err != nil || !got.Equal(want) || (missed == 0) != (n == 0) {
			t.Fatalf("%v (%d), want %v (%d), %v", got, missed, want, n, err)
		}
	})
}
