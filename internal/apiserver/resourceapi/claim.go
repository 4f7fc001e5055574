package resourceapi

import (
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func defaultClaimSpec(spec *resourcev1.ResourceClaimSpec) {
	for i := range spec.Devices.Requests {
		request := &spec.Devices.Requests[i]
		if exactly := request.Exactly; exactly != nil {
			defaultCount(&exactly.AllocationMode, &exactly.Count)
			defaultTolerations(exactly.Tolerations)
		}
		for j := range request.FirstAvailable {
			alternative := &request.FirstAvailable[j]
			defaultCount(&alternative.AllocationMode, &alternative.Count)
			defaultTolerations(alternative.Tolerations)
		}
	}
}

func defaultCount(mode *resourcev1.DeviceAllocationMode, count *int64) {
	if *mode == "" {
		*mode = resourcev1.DeviceAllocationModeExactCount
	}
	if *mode == resourcev1.DeviceAllocationModeExactCount && *count == 0 {
		*count = 1
	}
}

// dropDerived drops the attributes that claims may not derive yet.
func dropDerived(spec *resourcev1.ResourceClaimSpec) {
	for i := range spec.Devices.Requests {
		request := &spec.Devices.Requests[i]
		if request.Exactly != nil {
			request.Exactly.DerivedAttributes = nil
		}
		for j := range request.FirstAvailable {
			request.FirstAvailable[j].DerivedAttributes = nil
		}
	}
}

func checkClaimSpec(path *field.Path, spec *resourcev1.ResourceClaimSpec) field.ErrorList {
	path = path.Child("devices")
	names := namesOf(spec)
	return meta.Join(
		checkSet(path.Child("requests"), spec.Devices.Requests, resourcev1.DeviceRequestsMaxSize,
			func(r resourcev1.DeviceRequest) string { return r.Name }, checkRequest),
		checkList(path.Child("constraints"), spec.Devices.Constraints, resourcev1.DeviceConstraintsMaxSize,
			func(path *field.Path, c resourcev1.DeviceConstraint) field.ErrorList {
				return checkConstraint(path, c, names)
			}),
		checkList(path.Child("config"), spec.Devices.Config, resourcev1.DeviceConfigMaxSize,
			func(path *field.Path, c resourcev1.DeviceClaimConfiguration) field.ErrorList {
				return append(names.check(path.Child("requests"), c.Requests), checkConfig(path, c.DeviceConfiguration, false)...)
			}),
	)
}

func checkRequest(path *field.Path, request resourcev1.DeviceRequest) field.ErrorList {
	const one = "exactly one of `exactly` or `firstAvailable` is required"
	errs := meta.DNSLabel(path.Child("name"), request.Name)
	exactly := request.Exactly
	switch {
	case exactly == nil && len(request.FirstAvailable) == 0:
		return append(errs, field.Required(path, one))
	case exactly != nil && len(request.FirstAvailable) > 0:
		return append(errs, field.Invalid(path, nil, one+", but multiple fields are set"))
	case exactly != nil:
		return append(errs, checkWish(path.Child("exactly"), resourcev1.DeviceSubRequest{
			DeviceClassName: exactly.DeviceClassName,
			Selectors:       exactly.Selectors,
			AllocationMode:  exactly.AllocationMode,
			Count:           exactly.Count,
			Tolerations:     exactly.Tolerations,
		})...)
	}
	return append(errs, checkSet(path.Child("firstAvailable"), request.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize,
		func(r resourcev1.DeviceSubRequest) string { return r.Name },
		func(path *field.Path, r resourcev1.DeviceSubRequest) field.ErrorList {
			return append(meta.DNSLabel(path.Child("name"), r.Name), checkWish(path, r)...)
		})...)
}

// checkWish checks what an exact request and an alternative have in common.
func checkWish(path *field.Path, wish resourcev1.DeviceSubRequest) field.ErrorList {
	errs := checkClassName(path.Child("deviceClassName"), wish.DeviceClassName)
	errs = append(errs, checkList(path.Child("selectors"), wish.Selectors, resourcev1.DeviceSelectorsMaxSize, checkSelector)...)
	count := path.Child("count")
	switch wish.AllocationMode {
	case resourcev1.DeviceAllocationModeAll:
		if wish.Count != 0 {
			errs = append(errs, field.Invalid(count, wish.Count, fmt.Sprintf("must not be specified when allocationMode is '%s'", wish.AllocationMode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if wish.Count <= 0 {
			errs = append(errs, field.Invalid(count, wish.Count, "must be greater than zero"))
		}
	default:
		errs = append(errs, meta.Supported(path.Child("allocationMode"), wish.AllocationMode,
			resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount)...)
	}
	return append(errs, checkList(path.Child("tolerations"), wish.Tolerations, unlimited, checkToleration)...)
}

func checkConstraint(path *field.Path, constraint resourcev1.DeviceConstraint, names requestNames) field.ErrorList {
	errs := names.check(path.Child("requests"), constraint.Requests)
	switch {
	case constraint.MatchAttribute != nil:
		return append(errs, checkFullyQualified(path.Child("matchAttribute"), constraint.MatchAttribute)...)
	case constraint.DistinctAttribute != nil:
		return append(errs, checkFullyQualified(path.Child("distinctAttribute"), constraint.DistinctAttribute)...)
	}
	return append(errs, field.Required(path, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
}

// requestNames are the names that a claim's requests go by: "request", and
// "request/alternative".
type requestNames sets.Set[string]

func namesOf(spec *resourcev1.ResourceClaimSpec) requestNames {
	names := sets.New[string]()
	for _, request := range spec.Devices.Requests {
		names.Insert(request.Name)
		for _, alternative := range request.FirstAvailable {
			names.Insert(request.Name + "/" + alternative.Name)
		}
	}
	return requestNames(names)
}

func (names requestNames) check(path *field.Path, list []string) field.ErrorList {
	return checkSet(path, list, resourcev1.DeviceRequestsMaxSize, itself, names.checkOne)
}

func (names requestNames) checkOne(path *field.Path, name string) field.ErrorList {
	const unknown = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
	segments := strings.Split(name, "/")
	if len(segments) > 2 {
		return field.ErrorList{field.Invalid(path, name, unknown)}
	}
	var errs field.ErrorList
	for _, segment := range segments {
		errs = append(errs, meta.DNSLabel(path, segment)...)
	}
	if !sets.Set[string](names).Has(name) {
		errs = append(errs, field.Invalid(path, name, unknown))
	}
	return errs
}
