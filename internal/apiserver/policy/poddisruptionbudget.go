package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PodDisruptionBudget bounds how many of its pods may be evicted at a time.
func podDisruptionBudgets() resource.Resource {
	return resource.Resource{
		GroupVersion: policyv1.SchemeGroupVersion,
		Name:         "poddisruptionbudgets",
		Singular:     "poddisruptionbudget",
		Kind:         "PodDisruptionBudget",
		ShortNames:   []string{"pdb"},
		Namespaced:   true,
		New:          func() runtime.Object { return &policyv1.PodDisruptionBudget{} },
		NewList:      func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} },
		Generation:   true,
		Check:        meta.Check(func(b *policyv1.PodDisruptionBudget) field.ErrorList { return checkPodDisruptionBudget(b, nil) }),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkPodDisruptionBudget),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate: meta.CheckUpdate(checkPodDisruptionBudgetStatus),
			Reset:       [][]string{{"spec"}},
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Min Available", "The minimum number of pods that must be available."),
			meta.String("Max Unavailable", "The maximum number of pods that may be unavailable."),
			meta.Integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
			meta.Created(),
		),
		Row: meta.Row(func(b *policyv1.PodDisruptionBudget, now metav1.Time) []any {
			return []any{b.Name, bound(b.Spec.MinAvailable), bound(b.Spec.MaxUnavailable), int64(b.Status.DisruptionsAllowed), meta.Age(b.CreationTimestamp, now)}
		}),
	}
}

func bound(value *intstr.IntOrString) string {
	if value == nil {
		return "N/A"
	}
	return value.String()
}

// checkPodDisruptionBudget: old is nil at creation.
func checkPodDisruptionBudget(b, old *policyv1.PodDisruptionBudget) field.ErrorList {
	path, spec := field.NewPath("spec"), &b.Spec
	var errs field.ErrorList
	if spec.MinAvailable != nil && spec.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(path, *spec, "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, checkBound(path.Child("minAvailable"), spec.MinAvailable)...)
	errs = append(errs, checkBound(path.Child("maxUnavailable"), spec.MaxUnavailable)...)
	var stored *metav1.LabelSelector
	if old != nil {
		stored = old.Spec.Selector
	}
	errs = append(errs, meta.SelectorUpdate(path.Child("selector"), spec.Selector, stored)...)
	if policy := spec.UnhealthyPodEvictionPolicy; policy != nil {
		errs = append(errs, meta.Supported(path.Child("unhealthyPodEvictionPolicy"), *policy, policyv1.IfHealthyBudget, policyv1.AlwaysAllow)...)
	}
	return errs
}

func checkBound(path *field.Path, value *intstr.IntOrString) field.ErrorList {
	if value == nil {
		return nil
	}
	return append(meta.CountOrPercent(path, *value), meta.AtMostAll(path, *value)...)
}

func checkPodDisruptionBudgetStatus(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
	path, s := field.NewPath("status"), &b.Status
	return meta.Join(
		metavalidation.ValidateConditions(s.Conditions, path.Child("conditions")),
		meta.NonNegative(path.Child("disruptionsAllowed"), s.DisruptionsAllowed),
		meta.NonNegative(path.Child("currentHealthy"), s.CurrentHealthy),
		meta.NonNegative(path.Child("desiredHealthy"), s.DesiredHealthy),
		meta.NonNegative(path.Child("expectedPods"), s.ExpectedPods),
	)
}
