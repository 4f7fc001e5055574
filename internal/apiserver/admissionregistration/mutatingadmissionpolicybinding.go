package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A MutatingAdmissionPolicyBinding puts a policy into effect.
func mutatingAdmissionPolicyBindings() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "mutatingadmissionpolicybindings",
		Singular:     "mutatingadmissionpolicybinding",
		Kind:         "MutatingAdmissionPolicyBinding",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBinding{} },
		NewList:      func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBindingList{} },
		Generation:   true,
		Default:      meta.Default(func(b *admissionv1.MutatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) }),
		Check:        meta.Check(checkMutatingBinding),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(b, _ *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList { return checkMutatingBinding(b) }),
		},
		Columns: bindingColumns(),
		Row: meta.Row(func(b *admissionv1.MutatingAdmissionPolicyBinding, now metav1.Time) []any {
			return []any{b.Name, b.Spec.PolicyName, paramCell(b.Spec.ParamRef), meta.Age(b.CreationTimestamp, now)}
		}),
	}
}

func checkMutatingBinding(b *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(
		checkPolicyName(path.Child("policyName"), b.Spec.PolicyName),
		checkParam(path.Child("paramRef"), b.Spec.ParamRef),
		checkMatch(path.Child("matchResources"), b.Spec.MatchResources),
		checkNoDelete(path.Child("matchResources"), b.Spec.MatchResources),
	)
}
