package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func validatingWebhookConfigurations() resource.Resource {
	return resource.Resource{
		GroupVersion: admissionv1.SchemeGroupVersion,
		Name:         "validatingwebhookconfigurations",
		Singular:     "validatingwebhookconfiguration",
		Kind:         "ValidatingWebhookConfiguration",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &admissionv1.ValidatingWebhookConfiguration{} },
		NewList:      func() runtime.Object { return &admissionv1.ValidatingWebhookConfigurationList{} },
		Generation:   true,
	}
}
