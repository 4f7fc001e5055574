// Package core describes the core group ("" in a manifest: apiVersion v1).
package core

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		Pods(),
		Nodes(),
		Namespaces(),
		PodTemplates(),
		services(),
		configMaps(),
		secrets(),
		serviceAccounts(),
		events(),
		endpoints(),
		replicationControllers(),
		persistentVolumes(),
		persistentVolumeClaims(),
		limitRanges(),
		resourceQuotas(),
	}
}
