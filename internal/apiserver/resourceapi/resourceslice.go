package resourceapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ResourceSlice lists devices that a driver offers on some nodes.
func resourceSlices() resource.Resource {
	docs := resourcev1.ResourceSliceSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceslices",
		Singular:     "resourceslice",
		Kind:         "ResourceSlice",
		New:          func() runtime.Object { return &resourcev1.ResourceSlice{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceSliceList{} },
		Generation:   true,
		Prepare: func(ctx context.Context, obj runtime.Object) {
			prepareSlice(ctx, obj.(*resourcev1.ResourceSlice), &resourcev1.ResourceSlice{})
		},
		Check: meta.Check(func(s *resourcev1.ResourceSlice) field.ErrorList { return checkSlice(s, nil) }),
		Warn:  meta.Warn(warnSlice),
		Update: resource.Update{
			PrepareUpdate: func(ctx context.Context, obj, old runtime.Object) {
				prepareSlice(ctx, obj.(*resourcev1.ResourceSlice), old.(*resourcev1.ResourceSlice))
			},
			CheckUpdate:   meta.CheckUpdate(checkSliceUpdate),
			WarnUpdate:    meta.WarnUpdate(func(s, _ *resourcev1.ResourceSlice) []string { return warnSlice(s) }),
			Unconditional: true,
		},
		Fields:     meta.Fields(sliceFields),
		IndexField: resourcev1.ResourceSliceSelectorNodeName,
		Columns: meta.Table(
			meta.Name(),
			meta.String("Node", docs["nodeName"]),
			meta.String("Driver", docs["driver"]),
			meta.String("Pool", resourcev1.ResourcePool{}.SwaggerDoc()["name"]),
			meta.Created(),
		),
		Row: meta.Row(func(s *resourcev1.ResourceSlice, now metav1.Time) []any {
			return []any{s.Name, meta.Deref(s.Spec.NodeName, ""), s.Spec.Driver, s.Spec.Pool.Name, meta.Age(s.CreationTimestamp, now)}
		}),
	}
}

// prepareSlice dates new taints and drops the fields of features that are off,
// unless the stored slice has them.
func prepareSlice(ctx context.Context, s, old *resourcev1.ResourceSlice) {
	if now, ok := meta.RequestTime(ctx); ok {
		for i := range s.Spec.Devices {
			for j := range s.Spec.Devices[i].Taints {
				date(&s.Spec.Devices[i].Taints[j], now)
			}
		}
	}
	if old.Spec.PartitionTypeAttribute == nil {
		s.Spec.PartitionTypeAttribute = nil
	}
	if len(old.Spec.SkipNodeOperations) == 0 {
		s.Spec.SkipNodeOperations = nil
	}
	keepAllocatable := slices.ContainsFunc(old.Spec.Devices, func(d resourcev1.Device) bool { return len(d.NodeAllocatableResources) > 0 })
	keepGroups := slices.ContainsFunc(old.Spec.Devices, hasGroups)
	keepLists := slices.ContainsFunc(old.Spec.Devices, hasLists)
	for i := range s.Spec.Devices {
		device := &s.Spec.Devices[i]
		if !keepAllocatable {
			device.NodeAllocatableResources = nil
		}
		for j := range device.ConsumesCounters {
			if !keepGroups {
				device.ConsumesCounters[j].CompatibilityGroups = nil
			}
		}
		for name, a := range device.Attributes {
			if !keepLists {
				a.BoolValues, a.IntValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				device.Attributes[name] = a
			}
		}
	}
}

func hasGroups(d resourcev1.Device) bool {
	return slices.ContainsFunc(d.ConsumesCounters, func(c resourcev1.DeviceCounterConsumption) bool { return len(c.CompatibilityGroups) > 0 })
}

func hasLists(d resourcev1.Device) bool {
	for _, a := range d.Attributes {
		if a.BoolValues != nil || a.IntValues != nil || a.StringValues != nil || a.VersionValues != nil {
			return true
		}
	}
	return false
}

func warnSlice(s *resourcev1.ResourceSlice) []string {
	if driver := s.Spec.Driver; driver != strings.ToLower(driver) {
		return []string{fmt.Sprintf("spec.driver: driver names should be lowercase; %q contains uppercase characters", driver)}
	}
	return nil
}

func sliceFields(s *resourcev1.ResourceSlice) fields.Set {
	return fields.Set{
		resourcev1.ResourceSliceSelectorNodeName: meta.Deref(s.Spec.NodeName, ""),
		resourcev1.ResourceSliceSelectorDriver:   s.Spec.Driver,
		resourcev1.ResourceSliceSelectorPoolName: s.Spec.Pool.Name,
	}
}

func checkSliceUpdate(s, old *resourcev1.ResourceSlice) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(
		checkSlice(s, old),
		meta.Unchanged(path.Child("pool", "name"), s.Spec.Pool.Name, old.Spec.Pool.Name),
		meta.Unchanged(path.Child("driver"), s.Spec.Driver, old.Spec.Driver),
		meta.Unchanged(path.Child("nodeName"), s.Spec.NodeName, old.Spec.NodeName),
	)
}

func checkSlice(s, old *resourcev1.ResourceSlice) field.ErrorList {
	path, spec := field.NewPath("spec"), &s.Spec
	errs := meta.Join(
		meta.DriverName(path.Child("driver"), spec.Driver),
		checkPool(path.Child("pool"), spec.Pool),
		checkSliceNodes(path, spec),
	)
	if spec.SharedCounters != nil && spec.Devices != nil {
		errs = append(errs, field.Invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	stored := map[string]*resourcev1.Device{}
	if old != nil {
		for i := range old.Spec.Devices {
			stored[old.Spec.Devices[i].Name] = &old.Spec.Devices[i]
		}
	}
	return meta.Join(errs,
		checkSet(path.Child("devices"), spec.Devices, mostDevices(spec),
			func(d resourcev1.Device) string { return d.Name },
			func(path *field.Path, d resourcev1.Device) field.ErrorList {
				return checkDevice(path, d, stored[d.Name], meta.Deref(spec.PerDeviceNodeSelection, false))
			}),
		checkSet(path.Child("sharedCounters"), spec.SharedCounters, resourcev1.ResourceSliceMaxCounterSets,
			func(c resourcev1.CounterSet) string { return c.Name },
			func(path *field.Path, c resourcev1.CounterSet) field.ErrorList {
				return append(checkLabel(path.Child("name"), c.Name),
					checkCounters(path.Child("counters"), c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet)...)
			}),
		checkSkips(path.Child("skipNodeOperations"), spec.SkipNodeOperations),
	)
}

// mostDevices is less for devices that are costly to look at.
func mostDevices(spec *resourcev1.ResourceSliceSpec) int {
	if slices.ContainsFunc(spec.Devices, func(d resourcev1.Device) bool {
		return len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 || hasLists(d)
	}) {
		return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
	}
	return resourcev1.ResourceSliceMaxDevices
}

func checkPool(path *field.Path, pool resourcev1.ResourcePool) field.ErrorList {
	errs := checkPoolName(path.Child("name"), pool.Name)
	if pool.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(path.Child("resourceSliceCount"), pool.ResourceSliceCount, "must be greater than zero"))
	}
	if pool.Generation < 0 {
		errs = append(errs, field.Invalid(path.Child("generation"), pool.Generation, "must be greater than or equal to zero"))
	}
	return errs
}

func checkSliceNodes(path *field.Path, spec *resourcev1.ResourceSliceSpec) field.ErrorList {
	const one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	var errs field.ErrorList
	var set []string
	switch name := spec.NodeName; {
	case name != nil && *name == "":
		errs = append(errs, field.Invalid(path.Child("nodeName"), "", "must be either unset or set to a non-empty string"))
	case name != nil:
		set = append(set, "`nodeName`")
		errs = append(errs, checkNodeName(path.Child("nodeName"), *name)...)
	}
	if selector := spec.NodeSelector; selector != nil {
		set = append(set, "`nodeSelector`")
		errs = append(errs, meta.NodeSelector(path.Child("nodeSelector"), selector, false)...)
		if len(selector.NodeSelectorTerms) != 1 {
			errs = append(errs, field.Invalid(path.Child("nodeSelector", "nodeSelectorTerms"), selector.NodeSelectorTerms, "must have exactly one node selector term"))
		}
	}
	errs, set = onlyTrue(errs, set, path, "allNodes", spec.AllNodes)
	errs, set = onlyTrue(errs, set, path, "perDeviceNodeSelection", spec.PerDeviceNodeSelection)
	return append(errs, exactlyOne(path, set, one, one+", but multiple fields are set")...)
}
