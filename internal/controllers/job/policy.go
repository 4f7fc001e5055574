package job

import (
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
)

// hasFailed says that a pod is to be counted as failed: also one that is being
// deleted, unless the Job replaces only pods that have ended.
func hasFailed(j *batchv1.Job, p *v1.Pod) bool {
	if p.Status.Phase == v1.PodFailed {
		return true
	}
	return !replacesEndedOnly(j) && p.DeletionTimestamp != nil && p.Status.Phase != v1.PodSucceeded
}

func replacesEndedOnly(j *batchv1.Job) bool {
	return j.Spec.PodReplacementPolicy != nil && *j.Spec.PodReplacementPolicy == batchv1.Failed
}

// judged is what the failure policy says about a pod.
type judged struct {
	action  batchv1.PodFailurePolicyAction // "" if no rule fits
	message string                         // of FailJob
}

func (v judged) countsAsFailure() bool { return v.action != batchv1.PodFailurePolicyActionIgnore }

// judge applies the first rule that fits.
func judge(j *batchv1.Job, p *v1.Pod) judged {
	if j.Spec.PodFailurePolicy == nil {
		return judged{}
	}
	for i, rule := range j.Spec.PodFailurePolicy.Rules {
		var message string
		if rule.OnExitCodes != nil {
			c := exited(p, rule.OnExitCodes)
			if c == nil {
				continue
			}
			message = fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v matching %v rule at index %d",
				c.Name, p.Namespace, p.Name, c.State.Terminated.ExitCode, rule.Action, i)
		} else {
			c := conditioned(p, rule.OnPodConditions)
			if c == nil {
				continue
			}
			message = fmt.Sprintf("Pod %s/%s has condition %v matching %v rule at index %d", p.Namespace, p.Name, c.Type, rule.Action, i)
		}
		v := judged{action: rule.Action}
		if rule.Action == batchv1.PodFailurePolicyActionFailJob {
			v.message = message
		}
		return v
	}
	return judged{}
}

func exited(p *v1.Pod, r *batchv1.PodFailurePolicyOnExitCodesRequirement) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range list {
			end := list[i].State.Terminated
			if end == nil || end.ExitCode == 0 || r.ContainerName != nil && *r.ContainerName != list[i].Name {
				continue
			}
			if slices.Contains(r.Values, end.ExitCode) == (r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return &list[i]
			}
		}
	}
	return nil
}

func conditioned(p *v1.Pod, patterns []batchv1.PodFailurePolicyOnPodConditionsPattern) *v1.PodCondition {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if slices.ContainsFunc(patterns, func(w batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
			return w.Type == c.Type && w.Status == c.Status
		}) {
			return c
		}
	}
	return nil
}

// hasSucceeded applies the success policy; message names the rule.
func hasSucceeded(j *batchv1.Job, done indexes) (message string, yes bool) {
	if j.Spec.SuccessPolicy == nil {
		return "", false
	}
	for i, rule := range j.Spec.SuccessPolicy.Rules {
		enough := rule.SucceededCount != nil && done.total() >= int(*rule.SucceededCount)
		if rule.SucceededIndexes != nil {
			wanted := parseIndexes(*rule.SucceededIndexes, completions(j))
			have := wanted.common(done)
			enough = len(wanted) > 0 && (have == wanted.total() || rule.SucceededCount != nil && have >= int(*rule.SucceededCount))
		}
		if enough {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}

// failures of an index so far, as its pods hand them on in annotations.
func failures(p *v1.Pod) (counted, ignored int) {
	return atoi(p.Annotations[batchv1.JobIndexFailureCountAnnotation]), atoi(p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation])
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// failsIndex says that the failure of a pod is the end of its index.
func failsIndex(j *batchv1.Job, p *v1.Pod) bool {
	if !hasFailed(j, p) {
		return false
	}
	v := judge(j, p)
	counted, _ := failures(p)
	return v.action == batchv1.PodFailurePolicyActionFailIndex || v.countsAsFailure() && counted >= int(*j.Spec.BackoffLimitPerIndex)
}
