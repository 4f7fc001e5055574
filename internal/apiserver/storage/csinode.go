package storage

import (
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A CSINode lists the drivers on a node. Its status is of a feature that v1.37
// has switched off: served, but kept empty.
func csiNodes() resource.Resource {
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "csinodes",
		Singular:     "csinode",
		Kind:         "CSINode",
		New:          func() runtime.Object { return &storagev1.CSINode{} },
		NewList:      func() runtime.Object { return &storagev1.CSINodeList{} },
		Check:        meta.Check(checkCSINode),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkCSINodeUpdate),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			PrepareUpdate: meta.PrepareUpdate(func(n, old *storagev1.CSINode) { n.Status = old.Status }),
			Reset:         [][]string{{"metadata"}, {"spec"}},
		}},
		Columns: meta.Table(meta.Name(), meta.Integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node"), meta.Created()),
		Row: meta.Row(func(n *storagev1.CSINode, now metav1.Time) []any {
			return []any{n.Name, int64(len(n.Spec.Drivers)), meta.Age(n.CreationTimestamp, now)}
		}),
	}
}

const longestNodeID = 256

func checkCSINode(n *storagev1.CSINode) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, driver := range n.Spec.Drivers {
		path := field.NewPath("spec", "drivers").Index(i)
		errs = append(errs, meta.DriverName(path.Child("name"), driver.Name)...)
		errs = append(errs, meta.Required(path.Child("nodeID"), driver.NodeID)...)
		if len(driver.NodeID) > longestNodeID {
			errs = append(errs, field.Invalid(path.Child("nodeID"), driver.NodeID, fmt.Sprintf("must be %d characters or less", longestNodeID)))
		}
		if driver.Allocatable != nil {
			errs = append(errs, meta.NonNegative(path.Child("allocatable", "count"), meta.Deref(driver.Allocatable.Count, 0))...)
		}
		if names[driver.Name] {
			errs = append(errs, field.Duplicate(path.Child("name"), driver.Name))
		}
		names[driver.Name] = true
		for j, key := range driver.TopologyKeys {
			errs = append(errs, meta.Required(path, key)...)
			if slices.Contains(driver.TopologyKeys[:j], key) {
				errs = append(errs, field.Duplicate(path, key))
			}
			errs = append(errs, meta.QualifiedName(path, key)...)
		}
	}
	return errs
}

// checkCSINodeUpdate: drivers come and go; of one that stays only the number of
// volumes it takes may change.
func checkCSINodeUpdate(n, old *storagev1.CSINode) field.ErrorList {
	errs := checkCSINode(n)
	for _, before := range old.Spec.Drivers {
		for _, driver := range n.Spec.Drivers {
			if driver.Name == before.Name {
				before.Allocatable, driver.Allocatable = nil, nil
				errs = append(errs, meta.Unchanged(field.NewPath("spec", "drivers"), driver, before)...)
			}
		}
	}
	return errs
}
