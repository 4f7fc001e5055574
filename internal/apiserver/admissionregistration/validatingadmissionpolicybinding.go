package admissionregistration

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ValidatingAdmissionPolicyBinding puts a policy into effect.
func validatingAdmissionPolicyBindings() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "validatingadmissionpolicybindings",
		Singular:     "validatingadmissionpolicybinding",
		Kind:         "ValidatingAdmissionPolicyBinding",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
		NewList:      func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBindingList{} },
		Generation:   true,
		Default:      meta.Default(func(b *admissionv1.ValidatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) }),
		Check:        meta.Check(checkValidatingBinding),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(b, _ *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
				return checkValidatingBinding(b)
			}),
		},
		Columns: bindingColumns(),
		Row: meta.Row(func(b *admissionv1.ValidatingAdmissionPolicyBinding, now metav1.Time) []any {
			return []any{b.Name, b.Spec.PolicyName, paramCell(b.Spec.ParamRef), meta.Age(b.CreationTimestamp, now)}
		}),
	}
}

func checkValidatingBinding(b *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(
		checkPolicyName(path.Child("policyName"), b.Spec.PolicyName),
		checkParam(path.Child("paramRef"), b.Spec.ParamRef),
		checkMatch(path.Child("matchResources"), b.Spec.MatchResources),
		checkActions(path.Child("validationActions"), b.Spec.ValidationActions),
	)
}

func checkActions(path *field.Path, actions []admissionv1.ValidationAction) field.ErrorList {
	var errs field.ErrorList
	for i, action := range actions {
		errs = append(errs, meta.Supported(path.Index(i), action, admissionv1.Deny, admissionv1.Warn, admissionv1.Audit)...)
		if slices.Contains(actions[:i], action) {
			errs = append(errs, field.Duplicate(path.Index(i), action))
		}
	}
	if slices.Contains(actions, admissionv1.Deny) && slices.Contains(actions, admissionv1.Warn) {
		errs = append(errs, field.Invalid(path, actions,
			"must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	if len(actions) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	return errs
}
