// Package coordination describes coordination.k8s.io: Leases.
package coordination

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		leases(),
	}
}
