package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

var failureActions = []batchv1.PodFailurePolicyAction{
	batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore,
}

func checkFailurePolicy(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	if spec.PodFailurePolicy == nil {
		return nil
	}
	var errs field.ErrorList
	rules := spec.PodFailurePolicy.Rules
	path = path.Child("rules")
	if len(rules) > mostFailureRules {
		errs = append(errs, field.TooMany(path, len(rules), mostFailureRules))
	}
	names := sets.New[string]()
	for _, container := range slices.Concat(spec.Template.Spec.Containers, spec.Template.Spec.InitContainers) {
		names.Insert(container.Name)
	}
	for i := range rules {
		errs = append(errs, checkFailureRule(path.Index(i), spec, &rules[i], names)...)
	}
	return errs
}

func checkFailureRule(path *field.Path, spec *batchv1.JobSpec, rule *batchv1.PodFailurePolicyRule, containers sets.Set[string]) field.ErrorList {
	errs := oneOf(path.Child("action"), rule.Action, failureActions...)
	if rule.Action == batchv1.PodFailurePolicyActionFailIndex && spec.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Invalid(path.Child("action"), rule.Action, "requires the backoffLimitPerIndex to be set"))
	}
	if rule.OnExitCodes != nil {
		errs = append(errs, checkExitCodes(path.Child("onExitCodes"), rule.OnExitCodes, containers)...)
	}
	if len(rule.OnPodConditions) > mostConditions {
		errs = append(errs, field.TooMany(path.Child("onPodConditions"), len(rule.OnPodConditions), mostConditions))
	}
	for i, pattern := range rule.OnPodConditions {
		at := path.Child("onPodConditions").Index(i)
		errs = append(errs, meta.QualifiedName(at.Child("type"), string(pattern.Type))...)
		errs = append(errs, oneOf(at.Child("status"), pattern.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
	}
	switch codes, conditions := rule.OnExitCodes != nil, len(rule.OnPodConditions) > 0; {
	case codes && conditions:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
	case !codes && !conditions:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
	}
	return errs
}

// oneOf is meta.OneOf, naming the choice also where nothing was chosen.
func oneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q", slices.Sorted(slices.Values(allowed))))}
	}
	return meta.Supported(path, value, allowed...)
}

func checkExitCodes(path *field.Path, r *batchv1.PodFailurePolicyOnExitCodesRequirement, containers sets.Set[string]) field.ErrorList {
	errs := oneOf(path.Child("operator"), r.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if name := r.ContainerName; name != nil && !containers.Has(*name) {
		errs = append(errs, field.Invalid(path.Child("containerName"), *name, "must be one of the container or initContainer names in the pod template"))
	}
	path = path.Child("values")
	if len(r.Values) == 0 {
		errs = append(errs, field.Invalid(path, r.Values, "at least one value is required"))
	} else if len(r.Values) > mostExitCodes {
		errs = append(errs, field.TooMany(path, len(r.Values), mostExitCodes))
	}
	for i, code := range r.Values {
		if code == 0 && r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn {
			errs = append(errs, field.Invalid(path.Index(i), code, "must not be 0 for the In operator"))
		}
		if slices.Contains(r.Values[:i], code) {
			errs = append(errs, field.Duplicate(path.Index(i), code))
		}
	}
	if !slices.IsSorted(r.Values) {
		errs = append(errs, field.Invalid(path, r.Values, "must be ordered"))
	}
	return errs
}

func checkSuccessPolicy(path *field.Path, spec *batchv1.JobSpec) field.ErrorList {
	if spec.SuccessPolicy == nil {
		return nil
	}
	if meta.Deref(spec.CompletionMode, batchv1.NonIndexedCompletion) != batchv1.IndexedCompletion {
		return field.ErrorList{field.Invalid(path, *spec.SuccessPolicy, requiresIndexed)}
	}
	var errs field.ErrorList
	rules := spec.SuccessPolicy.Rules
	path = path.Child("rules")
	if len(rules) == 0 {
		errs = append(errs, field.Required(path, "at least one rules must be specified when the successPolicy is specified"))
	}
	if len(rules) > mostSuccessRules {
		errs = append(errs, field.TooMany(path, len(rules), mostSuccessRules))
	}
	for i, rule := range rules {
		errs = append(errs, checkSuccessRule(path.Index(i), rule, meta.Deref(spec.Completions, 0))...)
	}
	return errs
}

func checkSuccessRule(path *field.Path, rule batchv1.SuccessPolicyRule, completions int32) field.ErrorList {
	if rule.SucceededCount == nil && rule.SucceededIndexes == nil {
		return field.ErrorList{field.Required(path, "at least one of succeededCount or succeededIndexes must be specified")}
	}
	var errs field.ErrorList
	var total int32
	if list := rule.SucceededIndexes; list != nil {
		at := path.Child("succeededIndexes")
		if len(*list) > longestIndexes {
			errs = append(errs, field.TooLong(at, "", longestIndexes))
		}
		intervals, err := parseIndexes(*list, completions)
		if err != nil {
			errs = append(errs, field.Invalid(at, *list, fmt.Sprintf("error parsing succeededIndexes: %v", err)))
		}
		total = intervals.count()
	}
	if count := rule.SucceededCount; count != nil {
		at := path.Child("succeededCount")
		errs = append(errs, meta.NonNegative(at, *count)...)
		if *count > completions {
			errs = append(errs, field.Invalid(at, *count, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
		}
		if rule.SucceededIndexes != nil && *count > total {
			errs = append(errs, field.Invalid(at, *count, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total)))
		}
	}
	return errs
}
