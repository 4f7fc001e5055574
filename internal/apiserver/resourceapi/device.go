package resourceapi

import (
	"fmt"
	"regexp"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkDevice checks a device of a slice; capacity and taints that were stored
// are let pass.
func checkDevice(path *field.Path, d resourcev1.Device, stored *resourcev1.Device, ownNodes bool) field.ErrorList {
	errs := meta.DNSLabel(path.Child("name"), d.Name)
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d",
			resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	if n := countValues(d); n > resourcev1.ResourceSliceMaxAttributeValuesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attribute values must not exceed %d",
			resourcev1.ResourceSliceMaxAttributeValuesPerDevice)))
	}
	for _, name := range meta.Sorted(d.Attributes) {
		errs = append(errs, checkQualified(path.Child("attributes"), name)...)
		errs = append(errs, checkAttribute(path.Child("attributes").Key(string(name)), d.Attributes[name])...)
	}
	if stored == nil || !equality.Semantic.DeepEqual(stored.Capacity, d.Capacity) {
		for _, name := range meta.Sorted(d.Capacity) {
			errs = append(errs, checkQualified(path.Child("capacity"), name)...)
			errs = append(errs, checkCapacity(path.Child("capacity").Key(string(name)), d.Capacity[name], meta.Deref(d.AllowMultipleAllocations, false))...)
		}
	}
	if stored == nil || !equality.Semantic.DeepEqual(stored.Taints, d.Taints) {
		errs = append(errs, checkList(path.Child("taints"), d.Taints, resourcev1.DeviceTaintsMaxLength,
			func(path *field.Path, t resourcev1.DeviceTaint) field.ErrorList { return checkTaint(path, t, nil) })...)
	}
	return meta.Join(errs,
		checkSet(path.Child("consumesCounters"), d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice,
			func(c resourcev1.DeviceCounterConsumption) string { return c.CounterSet },
			func(path *field.Path, c resourcev1.DeviceCounterConsumption) field.ErrorList {
				return append(checkLabel(path.Child("counterSet"), c.CounterSet),
					checkCounters(path.Child("counters"), c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption)...)
			}),
		checkDeviceNodes(path, d, ownNodes),
		checkBinding(path, d.BindingConditions, d.BindingFailureConditions),
	)
}

func checkLabel(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return meta.DNSLabel(path, name)
}

func checkCounters(path *field.Path, counters map[string]resourcev1.Counter, limit int) field.ErrorList {
	switch n := len(counters); {
	case n == 0:
		return field.ErrorList{field.Required(path, "")}
	case n > limit:
		return field.ErrorList{field.TooMany(path, n, limit)}
	}
	var errs field.ErrorList
	for _, name := range meta.Sorted(counters) {
		errs = append(errs, meta.DNSLabel(path, name)...)
	}
	return errs
}

// countValues counts a device's attributes, each entry of a list for itself.
func countValues(d resourcev1.Device) int {
	n := 0
	for _, a := range d.Attributes {
		n += max(1, len(a.BoolValues)+len(a.IntValues)+len(a.StringValues)+len(a.VersionValues))
	}
	return n
}

var semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
	`(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

func checkAttribute(path *field.Path, a resourcev1.DeviceAttribute) field.ErrorList {
	var errs field.ErrorList
	text := func(path *field.Path, value string) {
		if len(value) > resourcev1.DeviceAttributeMaxValueLength {
			errs = append(errs, field.TooLong(path, "", resourcev1.DeviceAttributeMaxValueLength))
		}
	}
	version := func(path *field.Path, value string) {
		if !semanticVersion.MatchString(value) {
			errs = append(errs, field.Invalid(path, value, "must be a string compatible with semver.org spec 2.0.0"))
		}
		text(path, value)
	}
	if a.StringValue != nil {
		text(path.Child("string"), *a.StringValue)
	}
	if a.VersionValue != nil {
		version(path.Child("version"), *a.VersionValue)
	}
	for i, value := range a.StringValues {
		text(path.Child("strings").Index(i), value)
	}
	for i, value := range a.VersionValues {
		version(path.Child("versions").Index(i), value)
	}
	return append(errs, checkOneValue(path, a)...)
}

func checkOneValue(path *field.Path, a resourcev1.DeviceAttribute) field.ErrorList {
	const types = "one of: `int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`"
	var set []string
	for _, value := range []struct {
		name string
		set  bool
	}{
		{"int", a.IntValue != nil}, {"bool", a.BoolValue != nil}, {"string", a.StringValue != nil}, {"version", a.VersionValue != nil},
		{"ints", a.IntValues != nil}, {"bools", a.BoolValues != nil}, {"strings", a.StringValues != nil}, {"versions", a.VersionValues != nil},
	} {
		if value.set {
			set = append(set, value.name)
		}
	}
	switch len(set) {
	case 0:
		return field.ErrorList{field.Invalid(path, "", "must specify "+types)}
	case 1:
		return nil
	}
	return field.ErrorList{field.Invalid(path, "{"+strings.Join(set, ", ")+"}", "must specify exactly "+types)}
}

// checkDeviceNodes: devices say where they are only in slices that leave it to them.
func checkDeviceNodes(path *field.Path, d resourcev1.Device, ownNodes bool) field.ErrorList {
	const one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	if !ownNodes {
		if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
			return field.ErrorList{field.Invalid(path, nil,
				"`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")}
		}
		return nil
	}
	var errs field.ErrorList
	var set []string
	switch name := d.NodeName; {
	case name != nil && *name == "":
		errs = append(errs, field.Invalid(path.Child("nodeName"), "", "must not be empty"))
	case name != nil:
		set = append(set, "`nodeName`")
		errs = append(errs, checkNodeName(path.Child("nodeName"), *name)...)
	}
	if d.NodeSelector != nil {
		set = append(set, "`nodeSelector`")
		errs = append(errs, meta.NodeSelector(path.Child("nodeSelector"), d.NodeSelector, false)...)
	}
	errs, set = onlyTrue(errs, set, path, "allNodes", d.AllNodes)
	return append(errs, exactlyOne(path, set, one, one)...)
}

func checkNodeName(path *field.Path, name string) field.ErrorList {
	return meta.Invalid(path, name, apivalidation.NameIsDNSSubdomain(name, false))
}

// onlyTrue notes a flag that is set among the fields that are; false is no value for it.
func onlyTrue(errs field.ErrorList, set []string, path *field.Path, name string, flag *bool) (field.ErrorList, []string) {
	switch {
	case flag == nil:
	case *flag:
		set = append(set, "`"+name+"`")
	default:
		errs = append(errs, field.Invalid(path.Child(name), false, "must be either unset or set to true"))
	}
	return errs, set
}

func exactlyOne(path *field.Path, set []string, none, many string) field.ErrorList {
	switch len(set) {
	case 0:
		return field.ErrorList{field.Required(path, none)}
	case 1:
		return nil
	}
	return field.ErrorList{field.Invalid(path, "{"+strings.Join(set, ", ")+"}", many)}
}

// checkBinding checks the conditions that pods wait for before they are bound,
// and those that end the wait.
func checkBinding(path *field.Path, conditions, failures []string) field.ErrorList {
	good, bad := path.Child("bindingConditions"), path.Child("bindingFailureConditions")
	name := func(path *field.Path, name string) field.ErrorList {
		return metavalidation.ValidateLabelName(name, path)
	}
	errs := append(
		checkSet(good, conditions, resourcev1.BindingConditionsMaxSize, itself, name),
		checkSet(bad, failures, resourcev1.BindingFailureConditionsMaxSize, itself, name)...)
	wanted := sets.New(conditions...)
	for i, failure := range failures {
		if wanted.Has(failure) {
			errs = append(errs, field.Invalid(bad.Index(i), failure, "bindingFailureConditions must not overlap with bindingConditions"))
		}
	}
	if len(conditions) == 0 && len(failures) > 0 {
		errs = append(errs, field.Invalid(good, conditions, "bindingConditions are required to use bindingFailureConditions"))
	}
	if len(failures) == 0 && len(conditions) > 0 {
		errs = append(errs, field.Invalid(bad, failures, "bindingFailureConditions are required to use bindingConditions"))
	}
	return errs
}

func checkSkips(path *field.Path, operations []resourcev1.SkipNodeOperation) field.ErrorList {
	set := sets.New(operations...)
	if set.Has(resourcev1.SkipNodeOperationNodePrepareResources) &&
		!set.HasAny(resourcev1.SkipNodeOperationNodeUnprepareResources, resourcev1.SkipNodeOperationAll) {
		return field.ErrorList{field.Invalid(path, operations, "NodePrepareResources cannot be skipped unless NodeUnprepareResources is also skipped")}
	}
	return nil
}
