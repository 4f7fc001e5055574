package admissionregistration

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A MutatingAdmissionPolicy changes what is requested by expressions, inside the server.
func mutatingAdmissionPolicies() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "mutatingadmissionpolicies",
		Singular:     "mutatingadmissionpolicy",
		Kind:         "MutatingAdmissionPolicy",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.MutatingAdmissionPolicy{} },
		NewList:      func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyList{} },
		Generation:   true,
		Default: meta.Default(func(p *admissionv1.MutatingAdmissionPolicy) {
			meta.SetDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
			defaultMatch(p.Spec.MatchConstraints)
		}),
		Check: meta.Check(func(p *admissionv1.MutatingAdmissionPolicy) field.ErrorList { return checkMutatingPolicy(p, nil) }),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkMutatingPolicy),
		},
		Columns: policyColumns("Mutations", "Mutation indicates the number of mutations rules defined in this configuration"),
		Row: meta.Row(func(p *admissionv1.MutatingAdmissionPolicy, now metav1.Time) []any {
			return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindCell(p.Spec.ParamKind), meta.Age(p.CreationTimestamp, now)}
		}),
	}
}

// checkMutatingPolicy: old is nil at creation.
func checkMutatingPolicy(p, old *admissionv1.MutatingAdmissionPolicy) field.ErrorList {
	path, spec := field.NewPath("spec"), &p.Spec
	stored := sets.New[string]()
	sameConditions := false
	if old != nil {
		stored = storedMutations(&old.Spec)
		sameConditions = equality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) && equality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions)
	}
	errs := meta.Join(
		meta.Supported(path.Child("failurePolicy"), meta.Deref(spec.FailurePolicy, ""), admissionv1.Ignore, admissionv1.Fail),
		checkParamKind(path.Child("paramKind"), spec.ParamKind),
		checkConstraints(path.Child("matchConstraints"), spec.MatchConstraints),
		checkNoDelete(path.Child("matchConstraints"), spec.MatchConstraints),
	)
	if !sameConditions {
		errs = append(errs, checkConditions(path.Child("matchConditions"), spec.MatchConditions, spec.ParamKind != nil, stored)...)
	}
	e := newExpressions(spec.ParamKind != nil, true, stored)
	for i, variable := range spec.Variables {
		errs = append(errs, e.checkVariable(path.Child("variables").Index(i), variable)...)
	}
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(path.Child("mutations"), "mutations must contain at least one item"))
	}
	for i, mutation := range spec.Mutations {
		errs = append(errs, e.checkMutation(path.Child("mutations").Index(i), mutation)...)
	}
	return append(errs, meta.OneOf(path.Child("reinvocationPolicy"), spec.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy, admissionv1.IfNeededReinvocationPolicy)...)
}

func storedMutations(spec *admissionv1.MutatingAdmissionPolicySpec) sets.Set[string] {
	stored := sets.New[string]()
	for _, condition := range spec.MatchConditions {
		stored.Insert(strings.TrimSpace(condition.Expression))
	}
	for _, variable := range spec.Variables {
		stored.Insert(variable.Expression)
	}
	for _, mutation := range spec.Mutations {
		if mutation.ApplyConfiguration != nil {
			stored.Insert(strings.TrimSpace(mutation.ApplyConfiguration.Expression))
		}
		if mutation.JSONPatch != nil {
			stored.Insert(strings.TrimSpace(mutation.JSONPatch.Expression))
		}
	}
	return stored
}

func (e *expressions) checkMutation(path *field.Path, m admissionv1.Mutation) field.ErrorList {
	apply, patches := path.Child("applyConfiguration"), path.Child("jsonPatch")
	var errs field.ErrorList
	switch m.PatchType {
	case admissionv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(patches, "must be specified when patchType is JSONPatch"))
		} else {
			errs = append(errs, e.checkPatch(patches.Child("expression"), &patch.JSONPatchCondition{Expression: strings.TrimSpace(m.JSONPatch.Expression)})...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
		return errs
	case admissionv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			errs = append(errs, e.checkPatch(apply.Child("expression"), &patch.ApplyConfigurationCondition{Expression: strings.TrimSpace(m.ApplyConfiguration.Expression)})...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(patches, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
		return errs
	}
	return meta.OneOf(path.Child("patchType"), m.PatchType, admissionv1.PatchTypeApplyConfiguration, admissionv1.PatchTypeJSONPatch)
}

func (e *expressions) checkPatch(path *field.Path, expression plugincel.ExpressionAccessor) field.ErrorList {
	if expression.GetExpression() == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return e.check(path, expression, e.with(true, true))
}
