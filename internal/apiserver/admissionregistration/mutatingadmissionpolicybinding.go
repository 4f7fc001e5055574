package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

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
	}
}
