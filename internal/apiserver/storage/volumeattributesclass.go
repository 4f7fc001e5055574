package storage

import (
	"maps"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A VolumeAttributesClass holds what of a volume can be changed while it is used.
func volumeAttributesClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "volumeattributesclasses",
		Singular:     "volumeattributesclass",
		Kind:         "VolumeAttributesClass",
		ShortNames:   []string{"vac"},
		New:          func() runtime.Object { return &storagev1.VolumeAttributesClass{} },
		NewList:      func() runtime.Object { return &storagev1.VolumeAttributesClassList{} },
		Check:        meta.Check(checkVolumeAttributesClass),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkVolumeAttributesClassUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("DriverName", storagev1.VolumeAttributesClass{}.SwaggerDoc()["driverName"]), meta.Created()),
		Row: meta.Row(func(c *storagev1.VolumeAttributesClass, now metav1.Time) []any {
			return []any{c.Name, c.DriverName, meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func checkVolumeAttributesClass(c *storagev1.VolumeAttributesClass) field.ErrorList {
	errs := append(checkProvisioner("driverName", c.DriverName), checkParameters(c.Parameters)...)
	if len(c.Parameters) == 0 {
		errs = append(errs, field.Required(field.NewPath("parameters"), "must contain at least one key/value pair"))
	}
	return errs
}

func checkVolumeAttributesClassUpdate(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
	var errs field.ErrorList
	if c.DriverName != old.DriverName {
		errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
	}
	if !maps.Equal(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	return append(errs, checkVolumeAttributesClass(c)...)
}
