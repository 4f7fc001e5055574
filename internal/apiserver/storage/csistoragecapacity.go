package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func csiStorageCapacities() resource.Resource {
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "csistoragecapacities",
		Singular:     "csistoragecapacity",
		Kind:         "CSIStorageCapacity",
		Namespaced:   true,
		New:          func() runtime.Object { return &storagev1.CSIStorageCapacity{} },
		NewList:      func() runtime.Object { return &storagev1.CSIStorageCapacityList{} },
	}
}
