package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A CSIStorageCapacity tells how much a driver has left for a class and part of the cluster.
func csiStorageCapacities() resource.Resource {
	docs := storagev1.CSIStorageCapacity{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "csistoragecapacities",
		Singular:     "csistoragecapacity",
		Kind:         "CSIStorageCapacity",
		Namespaced:   true,
		New:          func() runtime.Object { return &storagev1.CSIStorageCapacity{} },
		NewList:      func() runtime.Object { return &storagev1.CSIStorageCapacityList{} },
		Check:        meta.Check(func(c *storagev1.CSIStorageCapacity) field.ErrorList { return checkCSIStorageCapacity(c, nil) }),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkCSIStorageCapacityUpdate),
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("StorageClassName", docs["storageClassName"]),
			meta.String("Capacity", docs["capacity"]),
		),
		Row: meta.Row(csiStorageCapacityRow),
	}
}

// checkCSIStorageCapacity: stored is the selector of the stored object, if any.
func checkCSIStorageCapacity(c *storagev1.CSIStorageCapacity, stored *metav1.LabelSelector) field.ErrorList {
	errs := append(meta.SelectorUpdate(field.NewPath("nodeTopology"), c.NodeTopology, stored), meta.DNSSubdomain(field.NewPath("storageClassName"), c.StorageClassName)...)
	if c.Capacity != nil {
		errs = append(errs, meta.Quantity(field.NewPath("capacity"), *c.Capacity)...)
	}
	return errs
}

func checkCSIStorageCapacityUpdate(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
	return meta.Join(
		checkCSIStorageCapacity(c, old.NodeTopology),
		meta.Unchanged(field.NewPath("nodeTopology"), c.NodeTopology, old.NodeTopology),
		meta.Unchanged(field.NewPath("storageClassName"), c.StorageClassName, old.StorageClassName),
	)
}

func csiStorageCapacityRow(c *storagev1.CSIStorageCapacity, _ metav1.Time) []any {
	capacity := meta.Unset
	if c.Capacity != nil {
		capacity = c.Capacity.String()
	}
	return []any{c.Name, c.StorageClassName, capacity}
}
