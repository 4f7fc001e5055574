// Package nodeapi describes node.k8s.io: RuntimeClasses.
package nodeapi

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		runtimeClasses(),
	}
}
