package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A DeviceClass names a sort of devices and how they are set up.
func deviceClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "deviceclasses",
		Singular:     "deviceclass",
		Kind:         "DeviceClass",
		New:          func() runtime.Object { return &resourcev1.DeviceClass{} },
		NewList:      func() runtime.Object { return &resourcev1.DeviceClassList{} },
		Generation:   true,
		Check:        meta.Check(func(c *resourcev1.DeviceClass) field.ErrorList { return checkDeviceClass(c, nil) }),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkDeviceClass),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.Created()),
		Row: meta.Row(func(c *resourcev1.DeviceClass, now metav1.Time) []any {
			return []any{c.Name, meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func checkDeviceClass(c, old *resourcev1.DeviceClass) field.ErrorList {
	path := field.NewPath("spec")
	stored := old != nil && equality.Semantic.DeepEqual(c.Spec.Config, old.Spec.Config)
	errs := append(
		checkList(path.Child("selectors"), c.Spec.Selectors, resourcev1.DeviceSelectorsMaxSize, checkSelector),
		checkList(path.Child("config"), c.Spec.Config, resourcev1.DeviceConfigMaxSize,
			func(path *field.Path, config resourcev1.DeviceClassConfiguration) field.ErrorList {
				return checkConfig(path, config.DeviceConfiguration, stored)
			})...)
	return append(errs, checkExtended(path.Child("extendedResourceName"), c.Spec.ExtendedResourceName)...)
}
