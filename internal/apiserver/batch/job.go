package batch

import (
	"fmt"
	"maps"
	"math"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A Job runs pods until enough of them have succeeded.
func jobs() resource.Resource {
	return resource.Resource{
		GroupVersion: batchv1.SchemeGroupVersion,
		Name:         "jobs",
		Singular:     "job",
		Kind:         "Job",
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &batchv1.Job{} },
		NewList:      func() runtime.Object { return &batchv1.JobList{} },
		Generation:   true,
		Default:      meta.Default(defaultJob),
		Prepare:      meta.Prepare(prepareJob),
		Check:        meta.Check(checkJob),
		Warn: meta.Warn(func(j *batchv1.Job) []string {
			return append(workload.WarnName(j.Name), warnJobSpec(field.NewPath("spec"), &j.Spec)...)
		}),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(j, _ *batchv1.Job) { dropUnserved(&j.Spec) }),
			CheckUpdate:   meta.CheckUpdate(checkJobUpdate),
			WarnUpdate:    meta.WarnUpdate(warnJobUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkJobStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(j *batchv1.Job) fields.Set {
			return fields.Set{"status.successful": strconv.Itoa(int(j.Status.Succeeded))}
		}),
		Columns: meta.Table(
			meta.Name(),
			meta.String("Status", "Status of the job."),
			meta.String("Completions", batchv1.JobStatus{}.SwaggerDoc()["succeeded"]),
			meta.String("Duration", "Time required to complete the job."),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
			meta.Wide(meta.String("Selector", batchv1.JobSpec{}.SwaggerDoc()["selector"])),
		),
		Row: meta.Row(jobRow),
	}
}

func defaultJob(j *batchv1.Job) {
	spec := &j.Spec
	if spec.Parallelism == nil {
		meta.SetDefault(&spec.Parallelism, 1)
		meta.SetDefault(&spec.Completions, 1)
	}
	if spec.BackoffLimitPerIndex != nil {
		meta.SetDefault(&spec.BackoffLimit, math.MaxInt32)
	}
	meta.SetDefault(&spec.BackoffLimit, 6)
	meta.SetDefault(&spec.CompletionMode, batchv1.NonIndexedCompletion)
	meta.SetDefault(&spec.Suspend, false)
	if spec.PodFailurePolicy != nil {
		meta.SetDefault(&spec.PodReplacementPolicy, batchv1.Failed)
	}
	meta.SetDefault(&spec.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	meta.SetDefault(&spec.ManualSelector, false)
	workload.CopyLabels(&j.ObjectMeta, &spec.Template)
	defaultJobSpec(spec)
}

// defaultJobSpec is what a CronJob's template gets too; the rest waits for the
// Job that is made of it.
func defaultJobSpec(spec *batchv1.JobSpec) {
	if policy := spec.PodFailurePolicy; policy != nil {
		for i := range policy.Rules {
			for j := range policy.Rules[i].OnPodConditions {
				if pattern := &policy.Rules[i].OnPodConditions[j]; pattern.Status == "" {
					pattern.Status = corev1.ConditionTrue
				}
			}
		}
	}
	podspec.DefaultTemplate(&spec.Template)
}

// dropUnserved drops scheduling by workloads, which v1.37 has switched off.
func dropUnserved(spec *batchv1.JobSpec) {
	spec.Scheduling = nil
	podspec.DropUnservedInTemplate(&spec.Template)
}

// Before they had a domain, the labels of a job's pods were named so; both are kept.
const (
	oldJobNameLabel       = "job-name"
	oldControllerUIDLabel = "controller-uid"
)

// prepareJob makes the selector from the job's uid, unless told not to, so that
// no two jobs ever claim one pod. Labels in the way are refused by the check.
func prepareJob(j *batchv1.Job) {
	dropUnserved(&j.Spec)
	if meta.Deref(j.Spec.ManualSelector, false) {
		return
	}
	template := &j.Spec.Template
	copied := len(j.Labels) > 0 && maps.Equal(j.Labels, template.Labels) // by the default
	template.Labels = withMissing(template.Labels, map[string]string{
		oldJobNameLabel: j.Name, batchv1.JobNameLabel: j.Name,
		oldControllerUIDLabel: string(j.UID), batchv1.ControllerUidLabel: string(j.UID),
	})
	if copied {
		j.Labels = maps.Clone(template.Labels)
	}
	meta.SetDefault(&j.Spec.Selector, metav1.LabelSelector{})
	j.Spec.Selector.MatchLabels = withMissing(j.Spec.Selector.MatchLabels, map[string]string{batchv1.ControllerUidLabel: string(j.UID)})
}

func withMissing(labels, more map[string]string) map[string]string {
	all := maps.Clone(more)
	maps.Copy(all, labels)
	return all
}

func warnJobUpdate(j, old *batchv1.Job) []string {
	if j.Generation == old.Generation {
		return nil
	}
	return warnJobSpec(field.NewPath("spec"), &j.Spec)
}

func warnJobSpec(path *field.Path, spec *batchv1.JobSpec) []string {
	var warnings []string
	indexed := meta.Deref(spec.CompletionMode, "") == batchv1.IndexedCompletion
	if indexed && meta.Deref(spec.Completions, 0) > manyCompletions && meta.Deref(spec.Parallelism, 0) > mostForMany {
		warnings = append(warnings, path.String()+": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail")
	}
	return append(warnings, podspec.WarningsForTemplate(&spec.Template, path.Child("template"))...)
}

func jobRow(j *batchv1.Job, now metav1.Time) []any {
	names, images := meta.ContainerCells(j.Spec.Template.Spec.Containers)
	return []any{
		j.Name, jobState(j), jobCompletions(j), jobDuration(j, now), meta.Age(j.CreationTimestamp, now),
		names, images, metav1.FormatLabelSelector(j.Spec.Selector),
	}
}

func jobState(j *batchv1.Job) string {
	switch {
	case is(j, batchv1.JobComplete):
		return "Complete"
	case is(j, batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	}
	for _, condition := range []batchv1.JobConditionType{batchv1.JobSuspended, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet} {
		if is(j, condition) {
			return string(condition)
		}
	}
	return "Running"
}

func jobCompletions(j *batchv1.Job) string {
	if j.Spec.Completions != nil {
		return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	}
	if parallelism := meta.Deref(j.Spec.Parallelism, 0); parallelism > 1 {
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallelism)
	}
	return fmt.Sprintf("%d/1", j.Status.Succeeded)
}

func jobDuration(j *batchv1.Job, now metav1.Time) string {
	start, end := j.Status.StartTime, j.Status.CompletionTime
	if start == nil {
		return ""
	}
	if end == nil {
		end = &now
	}
	return duration.HumanDuration(end.Sub(start.Time))
}

// is tells whether a condition is true.
func is(j *batchv1.Job, t batchv1.JobConditionType) bool {
	for _, condition := range j.Status.Conditions {
		if condition.Type == t && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
