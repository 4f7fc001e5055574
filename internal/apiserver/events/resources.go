// Package events describes events.k8s.io: the newer shape of Events.
package events

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		events(),
	}
}
