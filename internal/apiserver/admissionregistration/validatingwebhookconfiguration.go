package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ValidatingWebhookConfiguration names servers that may refuse requests.
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
		Default:      meta.Default(defaultValidatingWebhooks),
		Check: meta.Check(func(c *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
			return checkHooks(asMutating(c.Webhooks), nil)
		}),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(c, old *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
				return checkHooks(asMutating(c.Webhooks), asMutating(old.Webhooks))
			}),
		},
		Columns: hookColumns(),
		Row: meta.Row(func(c *admissionv1.ValidatingWebhookConfiguration, now metav1.Time) []any {
			return []any{c.Name, int64(len(c.Webhooks)), meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func defaultValidatingWebhooks(c *admissionv1.ValidatingWebhookConfiguration) {
	for i := range c.Webhooks {
		h := &c.Webhooks[i]
		defaultHook(&h.FailurePolicy, &h.MatchPolicy, &h.NamespaceSelector, &h.ObjectSelector, &h.TimeoutSeconds, &h.ClientConfig, h.Rules)
	}
}
