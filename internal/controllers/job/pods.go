package job

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// Kind of the owners.
var Kind = batchv1.SchemeGroupVersion.WithKind("Job")

// indexEnv tells an indexed pod its index.
const indexEnv = "JOB_COMPLETION_INDEX"

// longestGenerated leaves room for the suffix of a generated name.
const longestGenerated = 58

// newPod of a Job, to be counted by its finalizer.
func newPod(j *batchv1.Job) *v1.Pod {
	p := podcontrol.FromTemplate(&j.Spec.Template, j, Kind)
	if !isTracked(p) {
		p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	}
	return p
}

// newIndexedPod stands for one index; replaced is the failed pod before it, if any.
func newIndexedPod(j *batchv1.Job, index int, replaced *v1.Pod) *v1.Pod {
	p := newPod(j)
	number := strconv.Itoa(index)
	p.Annotations, p.Labels = with(p.Annotations, batchv1.JobCompletionIndexAnnotation, number), with(p.Labels, batchv1.JobCompletionIndexAnnotation, number)
	suffix := "-" + number + "-"
	p.GenerateName = j.Name[:min(len(j.Name), longestGenerated-len(suffix))] + suffix
	p.Spec.Hostname = fmt.Sprintf("%s-%d", j.Name, index)
	for i := range p.Spec.InitContainers {
		tellIndex(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		tellIndex(&p.Spec.Containers[i])
	}
	if j.Spec.BackoffLimitPerIndex != nil {
		handOnFailures(j, p, replaced)
	}
	return p
}

func with(m map[string]string, key, value string) map[string]string {
	if m = maps.Clone(m); m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

func tellIndex(c *v1.Container) {
	if slices.ContainsFunc(c.Env, func(e v1.EnvVar) bool { return e.Name == indexEnv }) {
		return
	}
	path := fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)
	c.Env = append(c.Env, v1.EnvVar{Name: indexEnv, ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: path}}})
}

func handOnFailures(j *batchv1.Job, p, replaced *v1.Pod) {
	counted, ignored := 0, 0
	if replaced != nil {
		counted, ignored = failures(replaced)
		if judge(j, replaced).countsAsFailure() {
			counted++
		} else {
			ignored++
		}
	}
	p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(counted)
	if ignored > 0 {
		p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(ignored)
	}
}

// isTracked says that a pod is still to be counted.
func isTracked(p *v1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// superfluous are active pods to delete: at least n, the cheapest first; of an
// indexed Job also those whose index is taken twice or out of range.
func superfluous(j *batchv1.Job, active []*v1.Pod, n int, now time.Time) []*v1.Pod {
	left := slices.Clone(active)
	podcontrol.SortForDeletion(left, nil, now)
	var remove []*v1.Pod
	if isIndexed(j) {
		best := map[int]*v1.Pod{}
		for _, p := range left { // the dearest of each index stays
			if i, ok := indexOf(p); ok && i < completions(j) {
				best[i] = p
			}
		}
		remove = podcontrol.Filter(left, func(p *v1.Pod) bool { i, ok := indexOf(p); return !ok || best[i] != p })
		left = podcontrol.Filter(left, func(p *v1.Pod) bool { i, ok := indexOf(p); return ok && best[i] == p })
	}
	if missing := n - len(remove); missing > 0 {
		remove = append(remove, left[:min(missing, len(left))]...)
	}
	return remove
}

func byIndex(pods []*v1.Pod) []*v1.Pod {
	ordered := slices.Clone(pods)
	slices.SortStableFunc(ordered, func(a, b *v1.Pod) int {
		i, okA := indexOf(a)
		k, okB := indexOf(b)
		if okA != okB {
			return cmp.Compare(strconv.FormatBool(okA), strconv.FormatBool(okB))
		}
		return cmp.Compare(i, k)
	})
	return ordered
}

func conditionOf(j *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; c.Type == t && c.Status == v1.ConditionTrue {
			return c
		}
	}
	return nil
}

// Finished says how a Job ended, if it has.
func Finished(j *batchv1.Job) (c *batchv1.JobCondition, yes bool) {
	if c = conditionOf(j, batchv1.JobComplete); c == nil {
		c = conditionOf(j, batchv1.JobFailed)
	}
	return c, c != nil
}

func condition(t batchv1.JobConditionType, status v1.ConditionStatus, reason, message string, now time.Time) *batchv1.JobCondition {
	return &batchv1.JobCondition{Type: t, Status: status, Reason: reason, Message: message, LastProbeTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now)}
}

// ensure sets a condition; one that was never true need not be said to be false.
func ensure(j *batchv1.Job, want *batchv1.JobCondition) (changed bool) {
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if c.Type != want.Type {
			continue
		}
		if c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			return false
		}
		*c = *want
		return true
	}
	if want.Status == v1.ConditionFalse {
		return false
	}
	j.Status.Conditions = append(j.Status.Conditions, *want)
	return true
}
