package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// The limits keep the lists of indexes in a status from growing without bound.
const (
	mostParallel       = 100_000
	mostFailedIndexes  = 100_000
	manyCompletions    = 100_000
	mostForMany        = 10_000 // parallelism, and failed indexes, above manyCompletions
	longestManagedBy   = 63
	mostFailureRules   = 20
	mostExitCodes      = 255
	mostConditions     = 20
	longestIndexes     = 64 * 1024
	mostSuccessRules   = 20
	requiresIndexed    = "requires indexed completion mode"
	longestCronJobName = validation.DNS1035LabelMaxLength - 11 // "-" and minutes since 1970 are added
)

func checkJob(j *batchv1.Job) field.ErrorList {
	return meta.Join(checkGenerated(j, true), checkJobWhole(j, nil), checkPodHostname(j))
}

// checkJobWhole checks a spec with its selector; old is nil at creation.
func checkJobWhole(j, old *batchv1.Job) field.ErrorList {
	path := field.NewPath("spec")
	var stored *batchv1.JobSpec
	var storedSelector *metav1.LabelSelector
	if old != nil {
		stored, storedSelector = &old.Spec, old.Spec.Selector
	}
	errs := checkJobSpec(path, &j.Spec, stored)
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	} else {
		errs = append(errs, meta.SelectorUpdate(path.Child("selector"), j.Spec.Selector, storedSelector)...)
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), j.Spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// checkGenerated checks that what prepareJob adds is there and was not contradicted.
func checkGenerated(j *batchv1.Job, prefixed bool) field.ErrorList {
	if meta.Deref(j.Spec.ManualSelector, false) || j.Spec.Selector == nil {
		return nil
	}
	var errs field.ErrorList
	if j.UID == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "uid"), ""))
	}
	expected := labels.Set{oldControllerUIDLabel: string(j.UID), oldJobNameLabel: j.Name}
	order := []string{oldControllerUIDLabel, oldJobNameLabel}
	if prefixed {
		expected[batchv1.ControllerUidLabel], expected[batchv1.JobNameLabel] = string(j.UID), j.Name
		order = append(order, batchv1.ControllerUidLabel, batchv1.JobNameLabel)
	}
	for _, key := range order {
		path := field.NewPath("spec", "template", "metadata", "labels").Key(key)
		value, set := j.Spec.Template.Labels[key]
		if !set {
			errs = append(errs, field.Required(path, fmt.Sprintf("must be '%s'", expected[key])))
		} else if value != expected[key] {
			errs = append(errs, field.Invalid(path, j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", expected[key])))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(expected) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// checkPodHostname: the pods of an indexed job are named in DNS after it and their index.
func checkPodHostname(j *batchv1.Job) field.ErrorList {
	completions := meta.Deref(j.Spec.Completions, 0)
	if meta.Deref(j.Spec.CompletionMode, "") != batchv1.IndexedCompletion || completions <= 0 {
		return nil
	}
	last := fmt.Sprintf("%s-%d", j.Name, completions-1)
	if len(validation.IsDNS1123Label(last)) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), j.Name, "will not able to create pod with invalid DNS label: "+last)}
}

// checkJobSpec checks a spec without its selector, as a CronJob has it.
func checkJobSpec(path *field.Path, spec, old *batchv1.JobSpec) field.ErrorList {
	var stored *corev1.PodTemplateSpec
	if old != nil {
		stored = &old.Template
	}
	return meta.Join(
		meta.NonNegative(path.Child("parallelism"), meta.Deref(spec.Parallelism, 0)),
		meta.NonNegative(path.Child("completions"), meta.Deref(spec.Completions, 0)),
		meta.NonNegative(path.Child("activeDeadlineSeconds"), meta.Deref(spec.ActiveDeadlineSeconds, 0)),
		meta.NonNegative(path.Child("backoffLimit"), meta.Deref(spec.BackoffLimit, 0)),
		meta.NonNegative(path.Child("ttlSecondsAfterFinished"), meta.Deref(spec.TTLSecondsAfterFinished, 0)),
		meta.NonNegative(path.Child("backoffLimitPerIndex"), meta.Deref(spec.BackoffLimitPerIndex, 0)),
		meta.NonNegative(path.Child("maxFailedIndexes"), meta.Deref(spec.MaxFailedIndexes, 0)),
		checkManagedBy(path.Child("managedBy"), spec.ManagedBy),
		checkCompletionMode(path, spec),
		checkFailurePolicy(path.Child("podFailurePolicy"), spec),
		checkSuccessPolicy(path.Child("successPolicy"), spec),
		checkReplacement(path.Child("podReplacementPolicy"), spec),
		workload.CheckTemplate(path.Child("template"), &spec.Template, stored),
		checkRestartPolicy(path.Child("template", "spec", "restartPolicy"), spec),
	)
}

func checkManagedBy(path *field.Path, by *string) field.ErrorList {
	if by == nil {
		return nil
	}
	errs := validation.IsDomainPrefixedPath(path, *by)
	if len(*by) > longestManagedBy {
		errs = append(errs, field.TooLong(path, "", longestManagedBy))
	}
	return errs
}

func checkCompletionMode(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	mode := meta.Deref(spec.CompletionMode, batchv1.NonIndexedCompletion)
	var errs field.ErrorList
	if spec.MaxFailedIndexes != nil && spec.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	switch mode {
	case batchv1.IndexedCompletion:
		return append(errs, checkIndexed(path, spec)...)
	case batchv1.NonIndexedCompletion:
		if n := spec.BackoffLimitPerIndex; n != nil {
			errs = append(errs, field.Invalid(path.Child("backoffLimitPerIndex"), *n, requiresIndexed))
		}
		if n := spec.MaxFailedIndexes; n != nil {
			errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *n, requiresIndexed))
		}
		return errs
	}
	return append(errs, field.NotSupported(path.Child("completionMode"), mode, []batchv1.CompletionMode{batchv1.NonIndexedCompletion, batchv1.IndexedCompletion}))
}

func checkIndexed(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	atMost := func(name string, value *int32, limit int32, suffix string) {
		if value != nil && *value > limit {
			errs = append(errs, field.Invalid(path.Child(name), *value, fmt.Sprintf("must be less than or equal to %d%s", limit, suffix)))
		}
	}
	if spec.Completions == nil {
		errs = append(errs, field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion)))
	}
	atMost("parallelism", spec.Parallelism, mostParallel, fmt.Sprintf(" when completion mode is %s", batchv1.IndexedCompletion))
	if spec.Completions != nil && spec.MaxFailedIndexes != nil && *spec.MaxFailedIndexes > *spec.Completions {
		errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *spec.MaxFailedIndexes, "must be less than or equal to completions"))
	}
	atMost("maxFailedIndexes", spec.MaxFailedIndexes, mostFailedIndexes, "")
	if meta.Deref(spec.Completions, 0) <= manyCompletions || spec.BackoffLimitPerIndex == nil {
		return errs
	}
	if spec.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(path.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	many := fmt.Sprintf(" when completions are above %d and used with backoff limit per index", manyCompletions)
	atMost("parallelism", spec.Parallelism, mostForMany, many)
	atMost("maxFailedIndexes", spec.MaxFailedIndexes, mostForMany, many)
	return errs
}

func checkReplacement(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	if spec.PodReplacementPolicy == nil {
		return nil
	}
	allowed := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
	if spec.PodFailurePolicy != nil {
		allowed = allowed[:1] // a pod's end must be known before it is judged
	}
	return meta.Supported(path, *spec.PodReplacementPolicy, allowed...)
}

func checkRestartPolicy(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	switch policy := spec.Template.Spec.RestartPolicy; policy {
	case corev1.RestartPolicyAlways, "":
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))}
	case corev1.RestartPolicyOnFailure:
		if spec.PodFailurePolicy != nil {
			return field.ErrorList{field.Invalid(path, policy, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever))}
		}
		return nil
	case corev1.RestartPolicyNever:
		return nil
	default:
		return field.ErrorList{field.NotSupported(path, policy, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever})}
	}
}

// checkJobUpdate: what the pods of a job are made of and judged by is fixed, but
// for where and with how much a suspended job's pods will run.
func checkJobUpdate(j, old *batchv1.Job) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(
		checkJobWhole(j, old),
		checkCompletionsChange(path, &j.Spec, &old.Spec),
		meta.Unchanged(path.Child("selector"), j.Spec.Selector, old.Spec.Selector),
		checkTemplateChange(path, j, old),
		meta.Unchanged(path.Child("completionMode"), j.Spec.CompletionMode, old.Spec.CompletionMode),
		meta.Unchanged(path.Child("podFailurePolicy"), j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy),
		meta.Unchanged(path.Child("backoffLimitPerIndex"), j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex),
		meta.Unchanged(path.Child("managedBy"), j.Spec.ManagedBy, old.Spec.ManagedBy),
		meta.Unchanged(path.Child("successPolicy"), j.Spec.SuccessPolicy, old.Spec.SuccessPolicy),
		checkPodHostname(j),
	)
}

// checkCompletionsChange: only an indexed job scales, together with its parallelism.
func checkCompletionsChange(path *field.Path, spec, old *batchv1.JobSpec) field.ErrorList {
	if meta.Deref(spec.CompletionMode, "") != batchv1.IndexedCompletion {
		return meta.Unchanged(path.Child("completions"), spec.Completions, old.Completions)
	}
	if spec.Completions == nil || equality.Semantic.DeepEqual(spec.Completions, old.Completions) || *spec.Completions == meta.Deref(spec.Parallelism, 0) {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("completions"), *spec.Completions, "can only be modified in tandem with spec.parallelism")}
}

func checkTemplateChange(path *field.Path, j, old *batchv1.Job) field.ErrorList {
	template, before := &j.Spec.Template, &old.Spec.Template
	suspended := meta.Deref(old.Spec.Suspend, false)
	idle := suspended && old.Status.Active == 0 && (old.Status.StartTime == nil || is(old, batchv1.JobSuspended))
	if !idle {
		return meta.Unchanged(path.Child("template"), template, before)
	}
	allowed := before.DeepCopy()
	allowPlacement(allowed, template)
	allowAmounts(allowed.Spec.Containers, template.Spec.Containers)
	allowAmounts(allowed.Spec.InitContainers, template.Spec.InitContainers)
	return meta.Unchanged(path.Child("template.spec"), template.Spec, allowed.Spec)
}

// allowPlacement takes over what says where pods go.
func allowPlacement(allowed, template *corev1.PodTemplateSpec) {
	spec, to := &allowed.Spec, &template.Spec
	spec.NodeSelector, spec.Tolerations, spec.SchedulingGates = to.NodeSelector, to.Tolerations, to.SchedulingGates
	switch {
	case to.Affinity == nil && spec.Affinity != nil:
		spec.Affinity.NodeAffinity = nil
		if *spec.Affinity == (corev1.Affinity{}) {
			spec.Affinity = nil
		}
	case to.Affinity != nil:
		meta.SetDefault(&spec.Affinity, corev1.Affinity{})
		spec.Affinity.NodeAffinity = to.Affinity.NodeAffinity
	}
}

// allowAmounts takes over what containers ask for.
func allowAmounts(allowed, containers []corev1.Container) {
	if len(allowed) != len(containers) {
		return
	}
	for i := range allowed {
		if allowed[i].Name == containers[i].Name {
			allowed[i].Resources = containers[i].Resources
		}
	}
}
