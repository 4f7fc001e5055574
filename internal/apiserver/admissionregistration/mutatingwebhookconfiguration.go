package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func mutatingWebhookConfigurations() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "mutatingwebhookconfigurations",
		Singular:     "mutatingwebhookconfiguration",
		Kind:         "MutatingWebhookConfiguration",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.MutatingWebhookConfiguration{} },
		NewList:      func() runtime.Object { return &admissionv1.MutatingWebhookConfigurationList{} },
		Generation:   true,
	}
}
