package cronjob

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
)

// manyMissed starts are worth a warning: more than somebody's long weekend of
// hourly jobs, fewer than a clock gone mad.
const manyMissed = 100

// skew is added to every wake-up, so that it isn't early by a drifting clock.
const skew = 100 * time.Millisecond

var errNever = errors.New("time difference between two schedules is less than 1 second")

// parse reads the schedule in the time zone of the CronJob.
func parse(cj *batchv1.CronJob) (s cron.Schedule, err error) {
	defer func() { // the parser panics on some malformed time zones
		if r := recover(); r != nil {
			err = fmt.Errorf("parse %q: %v", cj.Spec.Schedule, r)
		}
	}()
	text := cj.Spec.Schedule
	if cj.Spec.TimeZone != nil && !strings.Contains(text, "TZ") {
		text = fmt.Sprintf("TZ=%s %s", *cj.Spec.TimeZone, text)
	}
	return cron.ParseStandard(text)
}

// due finds the latest time not after now, and after since, at which the
// schedule wanted a start, and how many it wanted in all, about.
func due(s cron.Schedule, since, now time.Time) (latest time.Time, missed int, err error) {
	first := s.Next(since)
	if first.IsZero() {
		return time.Time{}, 0, errNever // such as the 31st of February
	}
	if first.After(now) {
		return time.Time{}, 0, nil
	}
	second := s.Next(first)
	interval := second.Sub(first).Round(time.Second)
	if second.IsZero() || interval < time.Second {
		return time.Time{}, 0, errNever
	}
	missed = int(now.Sub(first)/interval) + 1
	if every, ok := s.(cron.ConstantDelaySchedule); ok { // counted from its start
		return first.Add(time.Duration(missed-1) * every.Delay), missed, nil
	}
	return latestBefore(s, first, now, interval), missed, nil
}

// latestBefore walks the last stretch only: it goes back from now by more and
// more until it finds a start.
func latestBefore(s cron.Schedule, first, now time.Time, step time.Duration) time.Time {
	latest := first
	for back := step; now.Add(-back).After(first); back *= 2 {
		if t := s.Next(now.Add(-back)); !t.After(now) {
			latest = t
			break
		}
	}
	for t := s.Next(latest); !t.After(now) && !t.IsZero(); t = s.Next(t) {
		latest = t
	}
	return latest
}

// earliest is from when on starts are owed. A deadline keeps it from going far back.
func earliest(cj *batchv1.CronJob, now time.Time) time.Time {
	t := cj.CreationTimestamp.Time
	if cj.Status.LastScheduleTime != nil {
		t = cj.Status.LastScheduleTime.Time
	}
	if cj.Spec.StartingDeadlineSeconds != nil {
		if limit := now.Add(-time.Duration(*cj.Spec.StartingDeadlineSeconds) * time.Second); limit.After(t) {
			t = limit
		}
	}
	return t
}

// until the next start.
func until(s cron.Schedule, cj *batchv1.CronJob, now time.Time) time.Duration {
	from := now
	if _, constant := s.(cron.ConstantDelaySchedule); constant {
		from = cj.CreationTimestamp.Time
		if cj.Status.LastScheduleTime != nil {
			from = cj.Status.LastScheduleTime.Time
		}
		if latest, _, err := due(s, from, now); err == nil && !latest.IsZero() {
			from = latest
		}
	}
	next := s.Next(from)
	if next.IsZero() {
		return 0
	}
	return next.Add(skew).Sub(now)
}
