package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

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
	}
}
