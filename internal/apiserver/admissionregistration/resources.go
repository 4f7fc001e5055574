// Package admissionregistration describes admissionregistration.k8s.io: webhooks and admission policies.
package admissionregistration

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		validatingWebhookConfigurations(),
		mutatingWebhookConfigurations(),
		validatingAdmissionPolicies(),
		validatingAdmissionPolicyBindings(),
		mutatingAdmissionPolicies(),
		mutatingAdmissionPolicyBindings(),
	}
}
