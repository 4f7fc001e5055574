package admissionregistration

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/client-go/util/jsonpath"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ValidatingAdmissionPolicy refuses requests by expressions, inside the server.
func validatingAdmissionPolicies() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "validatingadmissionpolicies",
		Singular:     "validatingadmissionpolicy",
		Kind:         "ValidatingAdmissionPolicy",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicy{} },
		NewList:      func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyList{} },
		Generation:   true,
		Default: meta.Default(func(p *admissionv1.ValidatingAdmissionPolicy) {
			meta.SetDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
			defaultMatch(p.Spec.MatchConstraints)
		}),
		Check: meta.Check(func(p *admissionv1.ValidatingAdmissionPolicy) field.ErrorList { return checkValidatingPolicy(p, nil) }),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkValidatingPolicy),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate: meta.CheckUpdate(checkValidatingPolicyStatus),
			Reset:       [][]string{{"metadata"}, {"spec"}},
		}},
		Columns: policyColumns("Validations", "Validations indicates the number of validation rules defined in this configuration"),
		Row: meta.Row(func(p *admissionv1.ValidatingAdmissionPolicy, now metav1.Time) []any {
			return []any{p.Name, int64(len(p.Spec.Validations)), paramKindCell(p.Spec.ParamKind), meta.Age(p.CreationTimestamp, now)}
		}),
	}
}

const (
	mostAnnotations = 20
	longestValue    = 5 << 10 // of the expression: what it makes may be twice that
)

// checkValidatingPolicy: old is nil at creation.
func checkValidatingPolicy(p, old *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	path, spec := field.NewPath("spec"), &p.Spec
	stored := sets.New[string]()
	sameConditions := false
	if old != nil {
		stored = storedExpressions(&old.Spec)
		sameConditions = equality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) && equality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions)
	}
	errs := meta.Join(
		meta.Supported(path.Child("failurePolicy"), meta.Deref(spec.FailurePolicy, ""), admissionv1.Ignore, admissionv1.Fail),
		checkParamKind(path.Child("paramKind"), spec.ParamKind),
		checkConstraints(path.Child("matchConstraints"), spec.MatchConstraints),
	)
	if !sameConditions {
		errs = append(errs, checkConditions(path.Child("matchConditions"), spec.MatchConditions, spec.ParamKind != nil, stored)...)
	}
	e := newExpressions(spec.ParamKind != nil, len(spec.Variables) > 0, stored)
	for i, variable := range spec.Variables {
		errs = append(errs, e.checkVariable(path.Child("variables").Index(i), variable)...)
	}
	if len(spec.Validations)+len(spec.AuditAnnotations) == 0 {
		const either = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(path.Child("validations"), either), field.Required(path.Child("auditAnnotations"), either))
	}
	for i, validation := range spec.Validations {
		errs = append(errs, e.checkValidation(path.Child("validations").Index(i), validation)...)
	}
	return append(errs, e.checkAnnotations(path.Child("auditAnnotations"), p.Name, spec.AuditAnnotations)...)
}

func storedExpressions(spec *admissionv1.ValidatingAdmissionPolicySpec) sets.Set[string] {
	stored := sets.New[string]()
	for _, condition := range spec.MatchConditions {
		stored.Insert(strings.TrimSpace(condition.Expression))
	}
	for _, variable := range spec.Variables {
		stored.Insert(variable.Expression)
	}
	for _, validation := range spec.Validations {
		stored.Insert(validation.Expression, validation.MessageExpression)
	}
	for _, annotation := range spec.AuditAnnotations {
		stored.Insert(strings.TrimSpace(annotation.ValueExpression))
	}
	return stored
}

// checkConstraints: without a resource nobody knows the types of an expression's values.
func checkConstraints(path *field.Path, m *admissionv1.MatchResources) field.ErrorList {
	if m == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := checkMatch(path, m)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(path.Child("resourceRules"), ""))
	}
	return errs
}

func (e *expressions) checkValidation(path *field.Path, v admissionv1.Validation) field.ErrorList {
	var errs field.ErrorList
	if blank(v.Expression) {
		errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	} else {
		errs = append(errs, e.check(path.Child("expression"), &validating.ValidationCondition{Expression: v.Expression}, e.with(true, false))...)
	}
	const notBlank = "must be non-empty if specified"
	if v.MessageExpression != "" && blank(v.MessageExpression) {
		errs = append(errs, field.Invalid(path.Child("messageExpression"), v.MessageExpression, notBlank))
	} else if v.MessageExpression != "" {
		errs = append(errs, e.check(path.Child("messageExpression"), &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}, e.with(false, false))...)
	}
	if v.Message != "" && blank(v.Message) {
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, notBlank))
	} else if strings.ContainsAny(strings.TrimSpace(v.Message), "\n\r") {
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "must not contain line breaks"))
	}
	if v.Reason != nil {
		errs = append(errs, meta.Supported(path.Child("reason"), *v.Reason,
			metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge)...)
	}
	return errs
}

func (e *expressions) checkAnnotations(path *field.Path, policy string, annotations []admissionv1.AuditAnnotation) field.ErrorList {
	var errs field.ErrorList
	if len(annotations) > mostAnnotations {
		errs = append(errs, field.Invalid(path, annotations, fmt.Sprintf("must not have more than %d auditAnnotations", mostAnnotations)))
	}
	keys := sets.New[string]()
	for i, a := range annotations {
		at := path.Index(i)
		if policy == "" {
			errs = append(errs, field.Invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			errs = append(errs, meta.QualifiedName(at.Child("key"), policy+"/"+a.Key)...)
		}
		errs = append(errs, e.checkAnnotation(at.Child("valueExpression"), strings.TrimSpace(a.ValueExpression))...)
		if keys.Has(a.Key) {
			errs = append(errs, field.Duplicate(at.Child("key"), a.Key))
		}
		keys.Insert(a.Key)
	}
	return errs
}

func (e *expressions) checkAnnotation(path *field.Path, expression string) field.ErrorList {
	switch {
	case expression == "":
		return field.ErrorList{field.Required(path, "valueExpression is not specified")}
	case len(expression) > longestValue:
		return field.ErrorList{field.Required(path, fmt.Sprintf("must not exceed %d bytes in length", longestValue))}
	}
	return e.check(path, &validating.AuditAnnotationCondition{ValueExpression: expression}, e.with(true, false))
}

func checkValidatingPolicyStatus(p, _ *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	if p.Status.TypeChecking != nil {
		for i, warning := range p.Status.TypeChecking.ExpressionWarnings {
			at := path.Child("typeChecking", "expressionWarnings").Index(i)
			errs = append(errs, meta.Required(at.Child("warning"), warning.Warning)...)
			errs = append(errs, checkFieldRef(at.Child("fieldRef"), strings.TrimSpace(warning.FieldRef))...)
		}
	}
	return append(errs, metavalidation.ValidateConditions(p.Status.Conditions, path.Child("conditions"))...)
}

func checkFieldRef(path *field.Path, ref string) field.ErrorList {
	if ref == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if err := jsonpath.New("spec").Parse("{" + ref + "}"); err != nil {
		return field.ErrorList{field.Invalid(path, ref, fmt.Sprintf("invalid JSONPath: %v", err))}
	}
	return nil
}
