// Package storagemigration describes storagemigration.k8s.io: rewriting stored objects.
package storagemigration

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		storageVersionMigrations(),
	}
}
