// Package scheduling describes scheduling.k8s.io: PriorityClasses.
package scheduling

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		priorityClasses(),
	}
}
