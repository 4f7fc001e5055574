package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ResourceQuota bounds what a namespace may hold and ask for in all.
func resourceQuotas() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "resourcequotas",
		Singular:     "resourcequota",
		Kind:         "ResourceQuota",
		ShortNames:   []string{"quota"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.ResourceQuota{} },
		NewList:      func() runtime.Object { return &corev1.ResourceQuotaList{} },
		Default:      meta.Default(defaultResourceQuota),
		Check:        meta.Check(func(q *corev1.ResourceQuota) field.ErrorList { return checkQuotaSpec(&q.Spec) }),
		Warn:         meta.Warn(warnResourceQuota),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkResourceQuotaUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkResourceQuotaStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
			meta.String("Limit", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
			meta.Created(),
		),
		Row: meta.Row(resourceQuotaRow),
	}
}

func defaultResourceQuota(q *corev1.ResourceQuota) {
	meta.RoundUp(q.Spec.Hard)
	meta.RoundUp(q.Status.Hard)
	meta.RoundUp(q.Status.Used)
}

func checkQuotaSpec(spec *corev1.ResourceQuotaSpec) field.ErrorList {
	path := field.NewPath("spec")
	errs := meta.Join(checkAmounts(path.Child("hard"), spec.Hard), checkScopes(path.Child("scopes"), spec))
	if spec.ScopeSelector != nil {
		errs = append(errs, checkScopeSelector(path.Child("scopeSelector", "matchExpressions"), spec)...)
	}
	return errs
}

func checkAmounts(path *field.Path, list corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, name := range meta.Sorted(list) {
		at := path.Key(string(name))
		errs = append(errs, meta.QuotaResourceName(at, name)...)
		errs = append(errs, meta.ResourceAmount(at, name, list[name])...)
	}
	return errs
}

// scopedResources lists what a quota with a scope can count: a scope picks pods or claims only.
var (
	podCount     = []corev1.ResourceName{corev1.ResourcePods}
	podResources = append([]corev1.ResourceName{
		corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
	}, podCount...)
	scopedResources = map[corev1.ResourceQuotaScope][]corev1.ResourceName{
		corev1.ResourceQuotaScopeTerminating:               podResources,
		corev1.ResourceQuotaScopeNotTerminating:            podResources,
		corev1.ResourceQuotaScopeNotBestEffort:             podResources,
		corev1.ResourceQuotaScopePriorityClass:             podResources,
		corev1.ResourceQuotaScopeCrossNamespacePodAffinity: podResources,
		corev1.ResourceQuotaScopeBestEffort:                podCount,
		corev1.ResourceQuotaScopeVolumeAttributesClass:     {corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage},
	}
)

// misfits counts the resources of a quota that a scope can't apply to.
func misfits(spec *corev1.ResourceQuotaSpec, scope corev1.ResourceQuotaScope) int {
	allowed, known := scopedResources[scope]
	n := 0
	for name := range spec.Hard {
		if known && meta.StandardQuotaResource(name) && !slices.Contains(allowed, name) {
			n++
		}
	}
	return n
}

func conflicting(scopes sets.Set[corev1.ResourceQuotaScope]) int {
	n := 0
	if scopes.HasAll(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort) {
		n++
	}
	if scopes.HasAll(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating) {
		n++
	}
	return n
}

func checkScopes(path *field.Path, spec *corev1.ResourceQuotaSpec) field.ErrorList {
	var errs field.ErrorList
	refuse := func(times int, message string) {
		for range times {
			errs = append(errs, field.Invalid(path, spec.Scopes, message))
		}
	}
	for _, scope := range spec.Scopes {
		if _, known := scopedResources[scope]; !known {
			refuse(1, "unsupported scope")
		}
		refuse(misfits(spec, scope), "unsupported scope applied to resource")
	}
	refuse(conflicting(sets.New(spec.Scopes...)), "conflicting scopes")
	return errs
}

func checkScopeSelector(path *field.Path, spec *corev1.ResourceQuotaSpec) field.ErrorList {
	var errs field.ErrorList
	scopes := sets.New[corev1.ResourceQuotaScope]()
	for _, r := range spec.ScopeSelector.MatchExpressions {
		if _, known := scopedResources[r.ScopeName]; !known {
			errs = append(errs, field.Invalid(path.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		for range misfits(spec, r.ScopeName) {
			errs = append(errs, field.Invalid(path, spec.ScopeSelector, "unsupported scope applied to resource"))
		}
		errs = append(errs, checkScopeOperator(path, r)...)
		scopes.Insert(r.ScopeName)
	}
	for range conflicting(scopes) {
		errs = append(errs, field.Invalid(path, spec.Scopes, "conflicting scopes"))
	}
	return errs
}

func checkScopeOperator(path *field.Path, r corev1.ScopedResourceSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	switch r.ScopeName { // all but the classes by name are there or not
	case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
		corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		if r.Operator != corev1.ScopeSelectorOpExists {
			errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "+
				"ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(path.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) != 0 {
			errs = append(errs, field.Invalid(path.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}

func checkResourceQuotaUpdate(q, old *corev1.ResourceQuota) field.ErrorList {
	errs := checkQuotaSpec(&q.Spec)
	if !sets.New(q.Spec.Scopes...).Equal(sets.New(old.Spec.Scopes...)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, meta.Immutable))
	}
	return errs
}

func checkResourceQuotaStatus(q, _ *corev1.ResourceQuota) field.ErrorList {
	path := field.NewPath("status")
	return meta.Join(
		checkVersioned(q.ResourceVersion),
		checkAmounts(path.Child("hard"), q.Status.Hard),
		checkAmounts(path.Child("used"), q.Status.Used),
	)
}

// checkVersioned refuses a status that was not derived from a known state.
func checkVersioned(version string) field.ErrorList {
	return meta.Required(field.NewPath("resourceVersion"), version)
}

func warnResourceQuota(q *corev1.ResourceQuota) []string {
	var warnings []string
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceStorage, corev1.ResourceEphemeralStorage} {
		requests, limits := "requests."+name, "limits."+name
		request, requested := q.Spec.Hard[requests]
		if bare, ok := q.Spec.Hard[name]; ok && !requested && (name == corev1.ResourceCPU || name == corev1.ResourceMemory) {
			requests, request, requested = name, bare, true
		}
		if limit, limited := q.Spec.Hard[limits]; requested && limited && request.Cmp(limit) > 0 {
			warnings = append(warnings, fmt.Sprintf("ResourceQuota %s (%s) should be less than %s (%s)", requests, request.String(), limits, limit.String()))
		}
	}
	return warnings
}

func resourceQuotaRow(q *corev1.ResourceQuota, now metav1.Time) []any {
	var requests, limits []string
	for _, name := range meta.Sorted(q.Status.Hard) {
		used, hard := q.Status.Used[name], q.Status.Hard[name]
		cell := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
		if strings.HasPrefix(string(name), "limits.") {
			limits = append(limits, cell)
		} else {
			requests = append(requests, cell)
		}
	}
	return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), meta.Age(q.CreationTimestamp, now)}
}
