package core

import (
	"fmt"
	"math"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/kit/pods"
)

// podStatus is the update by which a node tells what became of a pod.
func podStatus() resource.Update {
	return resource.Update{
		PrepareUpdate: meta.PrepareUpdate(preparePodStatus),
		CheckUpdate:   meta.CheckUpdate(checkPodStatus),
		WarnUpdate:    meta.WarnUpdate(func(pod, _ *v1.Pod) []string { return podStatusWarnings(pod) }),
		Reset:         [][]string{{"spec"}, {"metadata", "deletionTimestamp"}, {"metadata", "ownerReferences"}},
		Unconditional: true,
	}
}

// preparePodStatus keeps what a status update may not touch, and what writers
// that don't know a field would drop.
func preparePodStatus(pod, old *v1.Pod) {
	pod.Spec = old.Spec
	pod.DeletionTimestamp = nil // the server puts the stored one back
	pod.OwnerReferences = old.OwnerReferences
	status, was := &pod.Status, &old.Status
	if status.QOSClass == "" {
		status.QOSClass = was.QOSClass
	}
	if status.ResourceClaimStatuses == nil {
		status.ResourceClaimStatuses = was.ResourceClaimStatuses
	}
	if status.ExtendedResourceClaimStatus == nil {
		status.ExtendedResourceClaimStatus = was.ExtendedResourceClaimStatus
	}
	keepObservedGeneration(status, was)
	dropUnservedStatus(status)
}

// keepObservedGeneration: a generation once seen is not unseen. Conditions are
// matched by type, in order, because types may repeat.
func keepObservedGeneration(status, was *v1.PodStatus) {
	if status.ObservedGeneration == 0 {
		status.ObservedGeneration = was.ObservedGeneration
	}
	seen := map[v1.PodConditionType][]int64{}
	for _, c := range was.Conditions {
		seen[c.Type] = append(seen[c.Type], c.ObservedGeneration)
	}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		generations := seen[c.Type]
		if len(generations) == 0 {
			continue
		}
		seen[c.Type] = generations[1:]
		if c.ObservedGeneration == 0 {
			c.ObservedGeneration = generations[0]
		}
	}
}

// dropUnservedStatus clears what features that v1.37 ships switched off would report.
func dropUnservedStatus(status *v1.PodStatus) {
	status.NodeAllocatableResourceClaimStatuses = nil
	status.VolumeHealth = nil
	for _, list := range containerStatuses(status) {
		for i := range list.statuses {
			for j := range list.statuses[i].VolumeMounts {
				list.statuses[i].VolumeMounts[j].VolumeStatus = nil
			}
		}
	}
}

// statusList is the statuses of one kind of containers, and their field's name.
type statusList struct {
	name     string
	statuses []v1.ContainerStatus
}

func containerStatuses(status *v1.PodStatus) []statusList {
	return []statusList{
		{"containerStatuses", status.ContainerStatuses},
		{"initContainerStatuses", status.InitContainerStatuses},
		{"ephemeralContainerStatuses", status.EphemeralContainerStatuses},
	}
}

func checkPodStatus(pod, old *v1.Pod) field.ErrorList {
	at := field.NewPath("status")
	errs := meta.Join(
		checkPodAnnotations(pod, old, tolerating(old)),
		checkPodConditions(pod.Status.Conditions, at.Child("conditions")),
		checkNominated(pod, old, at.Child("nominatedNodeName")),
	)
	if g := pod.Status.ObservedGeneration; g < 0 {
		errs = append(errs, field.Invalid(at.Child("observedGeneration"), g, "must be a non-negative integer"))
	}
	errs = append(errs, meta.Join(
		meta.Unchanged(at.Child("qosClass"), pod.Status.QOSClass, old.Status.QOSClass),
		checkTransitions(pod, old, at),
		checkClaimStatuses(pod, at.Child("resourceClaimStatuses")),
		checkExtendedClaim(pod, at.Child("extendedResourceClaimStatus")),
		checkPodIPs(&pod.Status, &old.Status, at.Child("podIPs")),
		checkHostIPs(&pod.Status, &old.Status, at.Child("hostIPs")),
	)...)
	for _, list := range containerStatuses(&pod.Status) {
		errs = append(errs, checkUsers(list.statuses, pod.Spec.OS, at.Child(list.name))...)
	}
	return append(errs, meta.Join(
		checkDevicesStatus(pod, pod.Status.ContainerStatuses, pod.Spec.Containers, at.Child("containerStatuses")),
		checkDevicesStatus(pod, pod.Status.InitContainerStatuses, pod.Spec.InitContainers, at.Child("initContainerStatuses")),
		checkNoDevicesStatus(pod.Status.EphemeralContainerStatuses, at.Child("ephemeralContainerStatuses")),
	)...)
}

func checkPodConditions(conditions []v1.PodCondition, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range conditions {
		if c.ObservedGeneration < 0 {
			errs = append(errs, field.Invalid(path.Index(i).Child("observedGeneration"), c.ObservedGeneration, "must be a non-negative integer"))
		}
		errs = append(errs, meta.QualifiedName(path.Index(i).Child("Type"), string(c.Type))...)
	}
	return errs
}

func checkNominated(pod, old *v1.Pod, at *field.Path) field.ErrorList {
	name := pod.Status.NominatedNodeName
	if name == "" || name == old.Status.NominatedNodeName {
		return nil
	}
	errs := meta.Invalid(at, name, apivalidation.NameIsDNSSubdomain(name, false))
	if old.Spec.NodeName != "" {
		errs = append(errs, field.Forbidden(at, "may not be set on pods that are already bound to a node"))
	}
	return errs
}

// checkTransitions: what has ended for good stays ended.
func checkTransitions(pod, old *v1.Pod, at *field.Path) field.ErrorList {
	never := func(v1.ContainerStatus) bool { return false }
	mayRestart := func(containers []v1.Container) func(v1.ContainerStatus) bool {
		return func(ended v1.ContainerStatus) bool {
			for i := range containers {
				if containers[i].Name == ended.Name {
					return pods.ShouldRestart(&containers[i], old.Spec.RestartPolicy, ended.State.Terminated.ExitCode)
				}
			}
			return false
		}
	}
	var errs field.ErrorList
	if !pods.RestartsAll(&old.Spec) {
		errs = meta.Join(
			checkEnded(pod.Status.ContainerStatuses, old.Status.ContainerStatuses, at.Child("containerStatuses"), mayRestart(old.Spec.Containers)),
			checkEnded(pod.Status.InitContainerStatuses, old.Status.InitContainerStatuses, at.Child("initContainerStatuses"), mayRestart(old.Spec.InitContainers)),
		)
	}
	return append(errs, checkEnded(pod.Status.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses, at.Child("ephemeralContainerStatuses"), never)...)
}

func checkEnded(statuses, old []v1.ContainerStatus, path *field.Path, mayRestart func(ended v1.ContainerStatus) bool) field.ErrorList {
	var errs field.ErrorList
	for i, was := range old {
		if was.State.Terminated == nil {
			continue
		}
		for _, is := range statuses {
			if is.Name == was.Name && is.State.Terminated == nil {
				if !mayRestart(was) {
					errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
				}
				break
			}
		}
	}
	return errs
}

func checkPodIPs(status, was *v1.PodStatus, at *field.Path) field.ErrorList {
	ips := make([]string, len(status.PodIPs))
	for i := range ips {
		ips[i] = status.PodIPs[i].IP
	}
	var stored []string
	for _, ip := range was.PodIPs {
		stored = append(stored, ip.IP)
	}
	errs := checkIPs(ips, stored, status.PodIPs, at)
	switch {
	case (status.PodIP == "") != (len(ips) == 0):
		errs = append(errs, field.Invalid(at, status.PodIPs, "podIP and podIPs must either both be set or both be unset"))
	case len(ips) > 0 && status.PodIP != ips[0]:
		errs = append(errs, field.Invalid(at.Index(0).Child("ip"), ips[0], "must be equal to `podIP`"))
	}
	return errs
}

func checkHostIPs(status, was *v1.PodStatus, at *field.Path) field.ErrorList {
	if len(status.HostIPs) == 0 {
		return nil
	}
	ips := make([]string, len(status.HostIPs))
	for i := range ips {
		ips[i] = status.HostIPs[i].IP
	}
	var stored []string
	for _, ip := range was.HostIPs {
		stored = append(stored, ip.IP)
	}
	var errs field.ErrorList
	if status.HostIP != ips[0] {
		errs = append(errs, field.Invalid(at.Index(0).Child("ip"), ips[0], "must be equal to `hostIP`"))
	}
	return append(errs, checkIPs(ips, stored, status.HostIPs, at)...)
}

// checkIPs: one address, or one of each family. said is the list as the error shows it.
func checkIPs(ips, stored []string, said any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range ips {
		errs = append(errs, meta.IP(at.Index(i), ip, stored...)...)
	}
	if len(ips) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		errs = append(errs, field.InternalError(at, fmt.Errorf("failed to check for dual stack with error:%v", err)))
	}
	if !dual || len(ips) > 2 {
		errs = append(errs, field.Invalid(at, said, "may specify no more than one IP for each IP family"))
	}
	return errs
}

func checkUsers(statuses []v1.ContainerStatus, os *v1.PodOS, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		if statuses[i].User == nil || statuses[i].User.Linux == nil {
			continue
		}
		user, at := statuses[i].User.Linux, path.Index(i).Child("user", "linux")
		if os != nil && os.Name == v1.Windows {
			errs = append(errs, field.Forbidden(at, "cannot be set for a windows pod"))
			continue
		}
		// Any user ID the kernel has; a spec may name fewer.
		if user.UID < 0 || user.UID > math.MaxUint32 {
			errs = append(errs, field.Invalid(at.Child("uid"), user.UID, fmt.Sprintf("must be between 0 and %d, inclusive", int64(math.MaxUint32))))
		}
		errs = append(errs, meta.Invalid(at.Child("gid"), user.GID, validation.IsValidGroupID(user.GID))...)
		for g, gid := range user.SupplementalGroups {
			errs = append(errs, meta.Invalid(at.Child("supplementalGroups").Index(g), gid, validation.IsValidGroupID(gid))...)
		}
	}
	return errs
}

func podStatusWarnings(pod *v1.Pod) []string {
	var warnings []string
	at := field.NewPath("status")
	for i, ip := range pod.Status.PodIPs {
		warnings = append(warnings, validation.GetWarningsForIP(at.Child("podIPs").Index(i).Child("ip"), ip.IP)...)
	}
	for i, ip := range pod.Status.HostIPs {
		warnings = append(warnings, validation.GetWarningsForIP(at.Child("hostIPs").Index(i).Child("ip"), ip.IP)...)
	}
	return warnings
}
