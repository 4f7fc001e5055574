package podspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkResources checks the requests and limits of a container or of the pod,
// which differ only in the names they may use.
func (s *scope) checkResources(r *v1.ResourceRequirements, at *field.Path, checkName func(*field.Path, v1.ResourceName) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	computes, hugePages := false, false
	note := func(name v1.ResourceName) {
		computes = computes || name == v1.ResourceCPU || name == v1.ResourceMemory
		hugePages = hugePages || isHugePages(name)
	}
	for _, name := range meta.Sorted(r.Limits) {
		note(name)
		path := at.Child("limits").Key(string(name))
		errs = append(errs, meta.Join(checkName(path, name), meta.ResourceAmount(path, name, r.Limits[name]), s.checkPageSize(name, r.Limits[name], path))...)
	}
	for _, name := range meta.Sorted(r.Requests) {
		note(name)
		path := at.Child("requests").Key(string(name))
		errs = append(errs, meta.Join(
			checkName(path, name),
			meta.ResourceAmount(path, name, r.Requests[name]),
			checkRequestLimit(name, r, at),
			s.checkPageSize(name, r.Requests[name], path),
		)...)
	}
	if hugePages && !computes {
		errs = append(errs, field.Forbidden(at, "HugePages require cpu or memory"))
	}
	return append(errs, checkClaimNames(r.Claims, s.claims, at.Child("claims"))...)
}

// checkRequestLimit: a request is at most its limit, and equal to it where the
// node can't promise more than it has.
func checkRequestLimit(name v1.ResourceName, r *v1.ResourceRequirements, at *field.Path) field.ErrorList {
	request := r.Requests[name]
	limit, limited := r.Limits[name]
	switch overcommit := meta.Overcommits(name); {
	case !limited && overcommit:
		return nil
	case !limited:
		return field.ErrorList{field.Required(at.Child("limits"), "Limit must be set for non overcommitable resources")}
	case !overcommit && request.Cmp(limit) != 0:
		return field.ErrorList{field.Invalid(at.Child("requests"), request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))}
	case request.Cmp(limit) > 0:
		return field.ErrorList{field.Invalid(at.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))}
	}
	return nil
}

func (s *scope) checkPageSize(name v1.ResourceName, q resource.Quantity, at *field.Path) field.ErrorList {
	if !isHugePages(name) || s.AllowIndivisibleHugePages || wholePages(name, q) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name))}
}

func wholePages(name v1.ResourceName, q resource.Quantity) bool {
	page, err := resource.ParseQuantity(strings.TrimPrefix(string(name), v1.ResourceHugePagesPrefix))
	if err != nil || page.Sign() <= 0 || page.MilliValue()%1000 != 0 || page.Value() == 0 {
		return false
	}
	return q.Value()%page.Value() == 0
}

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

func checkPodResourceName(at *field.Path, name v1.ResourceName) field.ErrorList {
	if errs := meta.ResourceName(at, name); len(errs) > 0 {
		return errs
	}
	if !resourcehelper.IsSupportedPodLevelResource(name) {
		return field.ErrorList{field.NotSupported(at, name, sets.List(resourcehelper.SupportedPodLevelResources()))}
	}
	return nil
}

// checkOverhead: overhead has the rules of a container's limits.
func (s *scope) checkOverhead() field.ErrorList {
	return s.checkResources(&v1.ResourceRequirements{Limits: s.spec.Overhead}, s.path.Child("overhead"), meta.ContainerResourceName)
}

// checkPodResources checks the resources of the pod as a whole, and that its containers fit in.
func (s *scope) checkPodResources() field.ErrorList {
	r, at := s.spec.Resources, s.path.Child("resources")
	if r == nil {
		return nil
	}
	if s.spec.OS != nil && s.spec.OS.Name == v1.Windows {
		return field.ErrorList{field.Forbidden(at, "may not be set for a windows pod")}
	}
	var errs field.ErrorList
	if r.Claims != nil {
		errs = append(errs, field.Forbidden(at.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	return meta.Join(errs, s.checkResources(r, at, checkPodResourceName), s.checkContainersFit(at))
}

func (s *scope) checkContainersFit(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	r, pod := s.spec.Resources, &v1.Pod{Spec: *s.spec}
	requests := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, name := range meta.Sorted(requests) {
		sum := requests[name]
		if of, set := r.Requests[name]; set && sum.Cmp(of) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests").Key(string(name)), of.String(), "must be greater than or equal to aggregate container requests of "+sum.String()))
		}
	}
	// Huge pages can't be overcommitted, so limits add up as requests do.
	limits := resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	for _, name := range meta.Sorted(limits) {
		sum := limits[name]
		if of, set := r.Limits[name]; set && isHugePages(name) && sum.Cmp(of) > 0 {
			errs = append(errs, field.Invalid(at.Child("limits").Key(string(name)), of.String(), "must be greater than or equal to aggregate container limits of "+sum.String()))
		}
	}
	for i := range s.spec.Containers {
		limits := s.spec.Containers[i].Resources.Limits
		for _, name := range meta.Sorted(limits) {
			limit := limits[name]
			if of, set := r.Limits[name]; set && limit.Cmp(of) > 0 {
				errs = append(errs, field.Invalid(at.Child("containers").Index(i).Key(string(name)).Child("limits"), limit.String(), "must be less than or equal to pod limits of "+of.String()))
			}
		}
	}
	return errs
}
