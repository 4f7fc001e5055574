package storagemigration

import (
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func storageVersionMigrations() resource.Resource {
	return resource.Resource{
		GroupVersion: storagemigrationv1.SchemeGroupVersion,
		Name:         "storageversionmigrations",
		Singular:     "storageversionmigration",
		Kind:         "StorageVersionMigration",
		New:          func() runtime.Object { return &storagemigrationv1.StorageVersionMigration{} },
		NewList:      func() runtime.Object { return &storagemigrationv1.StorageVersionMigrationList{} },
		Update: resource.Update{
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}},
		},
	}
}
