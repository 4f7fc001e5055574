// Package discovery describes discovery.k8s.io: EndpointSlices.
package discovery

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		endpointSlices(),
	}
}
