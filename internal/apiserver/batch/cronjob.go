package batch

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A CronJob starts Jobs by the clock.
func cronJobs() resource.Resource {
	spec, status := batchv1.CronJobSpec{}.SwaggerDoc(), batchv1.CronJobStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: batchv1.SchemeGroupVersion,
		Name:         "cronjobs",
		Singular:     "cronjob",
		Kind:         "CronJob",
		ShortNames:   []string{"cj"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &batchv1.CronJob{} },
		NewList:      func() runtime.Object { return &batchv1.CronJobList{} },
		Generation:   true,
		Default:      meta.Default(defaultCronJob),
		Prepare:      meta.Prepare(func(c *batchv1.CronJob) { dropUnserved(&c.Spec.JobTemplate.Spec) }),
		Check:        meta.Check(checkCronJob),
		Warn: meta.Warn(func(c *batchv1.CronJob) []string {
			return append(workload.WarnName(c.Name), warnJobSpec(jobPath(), &c.Spec.JobTemplate.Spec)...)
		}),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(c, _ *batchv1.CronJob) { dropUnserved(&c.Spec.JobTemplate.Spec) }),
			CheckUpdate:   meta.CheckUpdate(checkCronJobSpec),
			WarnUpdate:    meta.WarnUpdate(warnCronJobUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Schedule", spec["schedule"]),
			meta.String("Timezone", spec["timeZone"]),
			meta.Boolean("Suspend", spec["suspend"]),
			meta.Integer("Active", status["active"]),
			meta.String("Last Schedule", status["lastScheduleTime"]),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
			meta.Wide(meta.String("Selector", batchv1.JobSpec{}.SwaggerDoc()["selector"])),
		),
		Row: meta.Row(cronJobRow),
	}
}

func defaultCronJob(c *batchv1.CronJob) {
	if c.Spec.ConcurrencyPolicy == "" {
		c.Spec.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	meta.SetDefault(&c.Spec.Suspend, false)
	meta.SetDefault(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	meta.SetDefault(&c.Spec.FailedJobsHistoryLimit, 1)
	defaultJobSpec(&c.Spec.JobTemplate.Spec)
}

func jobPath() *field.Path { return field.NewPath("spec", "jobTemplate", "spec") }

func warnCronJobUpdate(c, old *batchv1.CronJob) []string {
	var warnings []string
	if c.Generation != old.Generation {
		warnings = warnJobSpec(jobPath(), &c.Spec.JobTemplate.Spec)
	}
	if strings.Contains(c.Spec.Schedule, "TZ") { // "spec.spec" is how the API words it
		warnings = append(warnings, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details")
	}
	return warnings
}

func checkCronJob(c *batchv1.CronJob) field.ErrorList {
	errs := checkCronJobSpec(c, nil)
	if len(c.Name) > longestCronJobName {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, fmt.Sprintf("must be no more than %d characters", longestCronJobName)))
	}
	return errs
}

// checkCronJobSpec checks what may change, which is all; old is nil at creation.
func checkCronJobSpec(c, old *batchv1.CronJob) field.ErrorList {
	path, spec := field.NewPath("spec"), &c.Spec
	var stored *batchv1.JobSpec
	zoneInSchedule, sameZone := false, false
	if old != nil {
		stored = &old.Spec.JobTemplate.Spec
		zoneInSchedule = strings.Contains(old.Spec.Schedule, "TZ")
		sameZone = (spec.TimeZone == nil) == (old.Spec.TimeZone == nil) && meta.Deref(spec.TimeZone, "") == meta.Deref(old.Spec.TimeZone, "")
	}
	errs := checkSchedule(path.Child("schedule"), spec, zoneInSchedule)
	errs = append(errs, meta.NonNegative(path.Child("startingDeadlineSeconds"), meta.Deref(spec.StartingDeadlineSeconds, 0))...)
	if !sameZone {
		errs = append(errs, checkTimeZone(path.Child("timeZone"), spec.TimeZone)...)
	}
	template := path.Child("jobTemplate", "spec")
	errs = append(errs, meta.OneOf(path.Child("concurrencyPolicy"), spec.ConcurrencyPolicy, batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	errs = append(errs, checkJobSpec(template, &spec.JobTemplate.Spec, stored)...)
	if selector := spec.JobTemplate.Spec.Selector; selector != nil {
		errs = append(errs, field.Invalid(template.Child("selector"), selector, "`selector` will be auto-generated"))
	}
	if meta.Deref(spec.JobTemplate.Spec.ManualSelector, false) {
		errs = append(errs, field.NotSupported(template.Child("manualSelector"), true, []string{"nil", "false"}))
	}
	return meta.Join(errs,
		meta.NonNegative(path.Child("successfulJobsHistoryLimit"), meta.Deref(spec.SuccessfulJobsHistoryLimit, 0)),
		meta.NonNegative(path.Child("failedJobsHistoryLimit"), meta.Deref(spec.FailedJobsHistoryLimit, 0)),
	)
}

// checkSchedule: a zone in the schedule was never documented, but once worked, so
// objects that have one may keep it.
func checkSchedule(path *field.Path, spec *batchv1.CronJobSpec, zoneAllowed bool) field.ErrorList {
	if spec.Schedule == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if err := parseSchedule(spec.Schedule); err != nil {
		errs = append(errs, field.Invalid(path, spec.Schedule, err.Error()))
	}
	switch zoned := strings.Contains(spec.Schedule, "TZ"); {
	case zoned && !zoneAllowed:
		errs = append(errs, field.Invalid(path, spec.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case zoned && spec.TimeZone != nil:
		errs = append(errs, field.Invalid(path, spec.Schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

// parseSchedule: the library panics on "TZ=0".
func parseSchedule(schedule string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New(fmt.Sprint("invalid schedule format: ", r))
		}
	}()
	_, err = cron.ParseStandard(schedule)
	return err
}

// zonePart is a component of a zone's name (https://data.iana.org/time-zones/theory.html#naming),
// digits and + added for names of old.
var zonePart = regexp.MustCompile(`^[A-Za-z._0-9+][A-Za-z._0-9+-]{0,13}$`)

func checkTimeZone(path *field.Path, zone *string) field.ErrorList {
	if zone == nil {
		return nil
	}
	if *zone == "" {
		return field.ErrorList{field.Invalid(path, zone, "timeZone must be nil or non-empty string")}
	}
	for part := range strings.SplitSeq(*zone, "/") {
		if part == "." || part == ".." || !zonePart.MatchString(part) {
			return field.ErrorList{field.Invalid(path, zone, "unknown time zone "+*zone)}
		}
	}
	var errs field.ErrorList
	if strings.EqualFold(*zone, "Local") {
		errs = append(errs, field.Invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(*zone); err != nil {
		errs = append(errs, field.Invalid(path, zone, err.Error()))
	}
	return errs
}

func cronJobRow(c *batchv1.CronJob, now metav1.Time) []any {
	last := meta.None
	if c.Status.LastScheduleTime != nil {
		last = meta.Age(*c.Status.LastScheduleTime, now)
	}
	suspended := meta.Unset
	if c.Spec.Suspend != nil {
		suspended = map[bool]string{true: "True", false: "False"}[*c.Spec.Suspend]
	}
	job := &c.Spec.JobTemplate.Spec
	names, images := meta.ContainerCells(job.Template.Spec.Containers)
	return []any{
		c.Name, c.Spec.Schedule, meta.Deref(c.Spec.TimeZone, meta.None), suspended, int64(len(c.Status.Active)), last,
		meta.Age(c.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(job.Selector),
	}
}
