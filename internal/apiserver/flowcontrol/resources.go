// Package flowcontrol describes flowcontrol.apiserver.k8s.io: priority and fairness of requests.
package flowcontrol

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		flowSchemas(),
		priorityLevelConfigurations(),
	}
}
