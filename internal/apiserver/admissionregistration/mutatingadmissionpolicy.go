package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

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
	}
}
