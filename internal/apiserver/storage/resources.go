// Package storage describes storage.k8s.io: storage classes and what CSI drivers tell.
package storage

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		storageClasses(),
		csiDrivers(),
		csiNodes(),
		volumeAttachments(),
		csiStorageCapacities(),
		volumeAttributesClasses(),
	}
}
