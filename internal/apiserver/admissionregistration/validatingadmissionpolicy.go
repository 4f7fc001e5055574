package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

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
		Update: resource.Update{
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}},
		},
	}
}
