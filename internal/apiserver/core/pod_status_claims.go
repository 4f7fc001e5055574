package core

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// What a pod's status says of claimed devices.

func checkClaimStatuses(pod *v1.Pod, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[string]{}
	for i, s := range pod.Status.ResourceClaimStatuses {
		at := path.Index(i)
		if !slices.ContainsFunc(pod.Spec.ResourceClaims, func(c v1.PodResourceClaim) bool { return c.Name == s.Name }) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		}
		if seen.Has(s.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), s.Name))
		}
		seen.Insert(s.Name)
		if s.ResourceClaimName != nil {
			errs = append(errs, meta.Invalid(at.Child("resourceClaimName"), s.ResourceClaimName, apivalidation.NameIsDNSSubdomain(*s.ResourceClaimName, false))...)
		}
	}
	return errs
}

func checkExtendedClaim(pod *v1.Pod, at *field.Path) field.ErrorList {
	status := pod.Status.ExtendedResourceClaimStatus
	if status == nil {
		return nil
	}
	mappings := at.Child("requestMappings")
	var errs field.ErrorList
	if len(status.RequestMappings) == 0 {
		errs = append(errs, field.Required(mappings, "at least one request mapping is required"))
	}
	seen := sets.Set[v1.ContainerExtendedResourceRequest]{}
	for i, m := range status.RequestMappings {
		path := mappings.Index(i)
		if c := findContainer(&pod.Spec, m.ContainerName); c == nil {
			errs = append(errs, field.Invalid(path.Child("containerName"), m.ContainerName, "must match the name of an entry in spec.initContainers.name or spec.containers.name"))
		} else if _, asked := c.Resources.Requests[v1.ResourceName(m.ResourceName)]; !asked {
			errs = append(errs, field.Invalid(path.Child("resourceName"), m.ResourceName, "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests"))
		}
		errs = append(errs, meta.DNSLabel(at.Child("requestName"), m.RequestName)...)
		if seen.Has(m) {
			errs = append(errs,
				field.Duplicate(path.Child("containerName"), m.ContainerName),
				field.Duplicate(path.Child("resourceName"), m.ResourceName),
				field.Duplicate(path.Child("requestName"), m.RequestName))
		}
		seen.Insert(m)
	}
	if status.ResourceClaimName == "" {
		return append(errs, field.Required(at.Child("resourceClaimName"), ""))
	}
	return append(errs, meta.Invalid(at.Child("resourceClaimName"), status.ResourceClaimName, apivalidation.NameIsDNSSubdomain(status.ResourceClaimName, false))...)
}

func findContainer(spec *v1.PodSpec, name string) *v1.Container {
	for _, list := range [][]v1.Container{spec.Containers, spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// checkDevicesStatus checks the health of the devices that containers hold. A
// container that the spec doesn't have is let pass: statuses may lag behind.
func checkDevicesStatus(pod *v1.Pod, statuses []v1.ContainerStatus, containers []v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		at := path.Index(i).Child("allocatedResourcesStatus")
		found := slices.IndexFunc(containers, func(c v1.Container) bool { return c.Name == statuses[i].Name })
		for j, s := range statuses[i].AllocatedResourcesStatus {
			if found >= 0 {
				errs = append(errs, checkDeviceName(s.Name, &containers[found], pod, at.Index(j).Child("name"))...)
			}
			errs = append(errs, checkDeviceHealth(s.Resources, at.Index(j).Child("resources"))...)
		}
	}
	return errs
}

func checkDeviceName(name v1.ResourceName, c *v1.Container, pod *v1.Pod, at *field.Path) field.ErrorList {
	claim, isClaim := strings.CutPrefix(string(name), "claim:")
	if !isClaim {
		if _, asked := c.Resources.Requests[name]; !asked {
			return field.ErrorList{field.Invalid(at, name, "must match one of the container's resource requests")}
		}
		return nil
	}
	for _, use := range c.Resources.Claims {
		if claim == use.Name && use.Request == "" || use.Request != "" && claim == use.Name+"/"+use.Request {
			return nil
		}
	}
	if backsExtended(claim, c, pod.Status.ExtendedResourceClaimStatus) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, name, "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty")}
}

// backsExtended: the claim was made for a resource that the container asks for by its old name.
func backsExtended(claim string, c *v1.Container, status *v1.PodExtendedResourceClaimStatus) bool {
	name, request, ok := strings.Cut(claim, "/")
	if status == nil || !ok || request == "" || name != status.ResourceClaimName {
		return false
	}
	for _, m := range status.RequestMappings {
		if q := c.Resources.Requests[v1.ResourceName(m.ResourceName)]; m.ContainerName == c.Name && m.RequestName == request && !q.IsZero() {
			return true
		}
	}
	return false
}

func checkDeviceHealth(devices []v1.ResourceHealth, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[v1.ResourceID]{}
	for i, d := range devices {
		at := path.Index(i)
		errs = append(errs, meta.Supported(at.Child("health"), d.Health, v1.ResourceHealthStatusHealthy, v1.ResourceHealthStatusUnhealthy, v1.ResourceHealthStatusUnknown)...)
		if d.Message != nil {
			if *d.Message == "" {
				errs = append(errs, field.Required(at.Child("message"), "must be non-empty if specified"))
			} else if len(*d.Message) > v1.ResourceHealthMessageMaxLength {
				errs = append(errs, field.TooLong(at.Child("message"), *d.Message, v1.ResourceHealthMessageMaxLength))
			}
		}
		if seen.Has(d.ResourceID) {
			errs = append(errs, field.Duplicate(at.Child("resourceID"), d.ResourceID))
		}
		seen.Insert(d.ResourceID)
	}
	return errs
}

func checkNoDevicesStatus(statuses []v1.ContainerStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		if len(statuses[i].AllocatedResourcesStatus) > 0 {
			errs = append(errs, field.Forbidden(path.Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status"))
		}
	}
	return errs
}
