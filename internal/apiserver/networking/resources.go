// Package networking describes networking.k8s.io: Ingress, NetworkPolicy and service addresses.
package networking

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		ingresses(),
		ingressClasses(),
		networkPolicies(),
		ipAddresses(),
		serviceCIDRs(),
	}
}
