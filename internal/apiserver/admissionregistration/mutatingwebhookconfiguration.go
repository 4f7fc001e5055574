package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A MutatingWebhookConfiguration names servers that may change what is requested.
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
		Default:      meta.Default(defaultMutatingWebhooks),
		Check:        meta.Check(func(c *admissionv1.MutatingWebhookConfiguration) field.ErrorList { return checkHooks(c.Webhooks, nil) }),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(c, old *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
				return checkHooks(c.Webhooks, old.Webhooks)
			}),
		},
		Columns: hookColumns(),
		Row: meta.Row(func(c *admissionv1.MutatingWebhookConfiguration, now metav1.Time) []any {
			return []any{c.Name, int64(len(c.Webhooks)), meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func defaultMutatingWebhooks(c *admissionv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		h := &c.Webhooks[i]
		defaultHook(&h.FailurePolicy, &h.MatchPolicy, &h.NamespaceSelector, &h.ObjectSelector, &h.TimeoutSeconds, &h.ClientConfig, h.Rules)
		meta.SetDefault(&h.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
	}
}
