package core

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/kit/pods"
)

// podResize is the update of cpu and memory of a pod that runs.
func podResize() resource.Update {
	return resource.Update{
		PrepareUpdate: meta.PrepareUpdate(prepareResize),
		CheckUpdate:   meta.CheckUpdate(checkResize),
		Reset:         append([][]string{{"metadata"}, {"status"}}, podSpecFieldsBut("containers", "initContainers", "resources")...),
		Unconditional: true,
	}
}

// prepareResize takes resources and resize policies from the request and all else
// from what is stored. Containers that were added, removed, renamed or reordered
// stay as they were asked for, for checkResize to refuse.
func prepareResize(pod, old *v1.Pod) {
	if len(pod.Spec.Containers) == len(old.Spec.Containers) && len(pod.Spec.InitContainers) == len(old.Spec.InitContainers) {
		asked := pod.Spec
		pod.Spec = *old.Spec.DeepCopy()
		pod.Spec.Resources = asked.Resources
		pod.Spec.Containers = resized(pod.Spec.Containers, asked.Containers)
		pod.Spec.InitContainers = resized(pod.Spec.InitContainers, asked.InitContainers)
		pod.Status = old.Status
		metav1.ResetObjectMetaForStatus(&pod.ObjectMeta, &old.ObjectMeta)
	}
	if pod.Spec.Resources == nil { // a client that doesn't know the field dropped it
		pod.Spec.Resources = old.Spec.Resources.DeepCopy()
	}
	podspec.CompleteResources(&pod.Spec)
	podspec.DropUnserved(&pod.Spec, pod.Annotations)
}

// resized returns the stored containers with the resources that are asked for.
func resized(containers, asked []v1.Container) []v1.Container {
	for i := range containers {
		if containers[i].Name != asked[i].Name {
			return asked
		}
		containers[i].Resources = asked[i].Resources
		containers[i].ResizePolicy = asked[i].ResizePolicy
	}
	return containers
}

func checkResize(pod, old *v1.Pod) field.ErrorList {
	if _, mirror := old.Annotations[v1.MirrorPodAnnotationKey]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == v1.Windows {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "windows pods cannot be resized")}
	}
	at := field.NewPath("spec")
	errs := checkPodObject(pod, tolerating(old))
	if pods.QOSClass(old) != pods.ComputeQOSClass(pod) {
		errs = append(errs, field.Invalid(at, pod.Status.QOSClass, "Pod QOS Class may not change as a result of resizing"))
	}
	if !nodeCanResize(old) {
		errs = append(errs, field.Forbidden(at, "Pod running on node without support for resize"))
	}
	errs = append(errs, checkPodLevelResize(pod.Spec.Resources, old.Spec.Resources, at)...)
	if order := checkSameContainers(pod, old, at); len(order) > 0 {
		return append(errs, order...)
	}
	errs = append(errs, meta.Join(
		checkNothingRemoved(pod.Spec.InitContainers, old.Spec.InitContainers, at.Child("initContainers")),
		checkNothingRemoved(pod.Spec.Containers, old.Spec.Containers, at.Child("containers")),
		checkOnlyResized(pod, old, at),
	)...)
	if !equality.Semantic.DeepEqual(pod.Spec.Volumes, old.Spec.Volumes) {
		errs = append(errs, field.Forbidden(at.Child("volumes"), "volumes are immutable on resize when InPlacePodVerticalScalingMemoryBackedVolumes feature gate is disabled"))
	}
	if len(errs) == 0 && !equality.Semantic.DeepEqual(*resizeUndone(&pod.Spec, &old.Spec), old.Spec) {
		errs = append(errs, field.Forbidden(at, "only cpu and memory resources are mutable"))
	}
	return errs
}

// nodeCanResize: a node that can says what its running containers really have.
func nodeCanResize(pod *v1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true // nothing runs yet: nobody can tell
}

func checkPodLevelResize(r, old *v1.ResourceRequirements, at *field.Path) field.ErrorList {
	if old == nil && r == nil {
		return nil
	}
	if r == nil {
		return field.ErrorList{field.Forbidden(at.Child("resources"), "pod-level resources cannot be removed")}
	}
	var errs field.ErrorList
	if old != nil && removes(r.Requests, old.Requests) {
		errs = append(errs, field.Forbidden(at.Child("resources", "requests"), "pod-level resource requests cannot be removed"))
	}
	if old != nil && removes(r.Limits, old.Limits) {
		errs = append(errs, field.Forbidden(at.Child("resources", "limits"), "pod-level resource limits cannot be removed"))
	}
	if !equality.Semantic.DeepEqual(podResizeUndone(r, old), old) {
		errs = append(errs, field.Forbidden(at, "only cpu and memory resources are mutable at pod-level"))
	}
	return errs
}

func checkSameContainers(pod, old *v1.Pod, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name     string
		now, was []v1.Container
	}{{"containers", pod.Spec.Containers, old.Spec.Containers}, {"initContainers", pod.Spec.InitContainers, old.Spec.InitContainers}} {
		if len(list.now) != len(list.was) {
			errs = append(errs, field.Forbidden(at.Child(list.name), list.name+" may not be added or removed on resize"))
			continue
		}
		for i := range list.was {
			if list.now[i].Name != list.was[i].Name {
				errs = append(errs, field.Forbidden(at.Child(list.name).Index(i).Child("name"), list.name+" may not be renamed or reordered on resize"))
			}
		}
	}
	return errs
}

func checkNothingRemoved(containers, old []v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range old {
		at, now, was := path.Index(i).Child("resources"), containers[i].Resources, old[i].Resources
		if removes(now.Requests, was.Requests) {
			errs = append(errs, field.Forbidden(at.Child("requests"), "resource requests cannot be removed"))
		}
		if removes(now.Limits, was.Limits) {
			errs = append(errs, field.Forbidden(at.Child("limits"), "resource limits cannot be removed"))
		}
	}
	return errs
}

func removes(list, old v1.ResourceList) bool {
	for name := range old {
		if _, kept := list[name]; !kept {
			return true
		}
	}
	return false
}

// checkOnlyResized: of each container only cpu and memory differ.
func checkOnlyResized(pod, old *v1.Pod, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range pod.Spec.Containers {
		if was := &old.Spec.Containers[i]; !equality.Semantic.DeepEqual(containerResizeUndone(&pod.Spec.Containers[i], was), was) {
			errs = append(errs, field.Forbidden(at, "only cpu and memory resources are mutable"))
		}
	}
	for i := range pod.Spec.InitContainers {
		c, was, path := &pod.Spec.InitContainers[i], &old.Spec.InitContainers[i], at.Child("initContainers").Index(i)
		if !equality.Semantic.DeepEqual(containerResizeUndone(c, was), was) {
			errs = append(errs, field.Forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable"))
		}
		if podspec.IsSidecar(c) || equality.Semantic.DeepEqual(c, was) {
			continue
		}
		for _, policy := range c.ResizePolicy {
			if policy.RestartPolicy == v1.RestartContainer {
				errs = append(errs, field.Forbidden(path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"))
			}
		}
	}
	return errs
}

// resizeUndone is the spec with cpu and memory as they were; what still differs may not.
func resizeUndone(spec, old *v1.PodSpec) *v1.PodSpec {
	rest := spec.DeepCopy()
	rest.Resources = podResizeUndone(rest.Resources, old.Resources)
	for i := range rest.Containers {
		rest.Containers[i] = *containerResizeUndone(&rest.Containers[i], &old.Containers[i])
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i] = *containerResizeUndone(&rest.InitContainers[i], &old.InitContainers[i])
	}
	return rest
}

func containerResizeUndone(c, old *v1.Container) *v1.Container {
	rest := c.DeepCopy()
	rest.Resources.Requests = computeAsBefore(c.Resources.Requests, old.Resources.Requests)
	rest.Resources.Limits = computeAsBefore(c.Resources.Limits, old.Resources.Limits)
	return rest
}

func podResizeUndone(r, old *v1.ResourceRequirements) *v1.ResourceRequirements {
	if r == nil {
		return nil
	}
	var before v1.ResourceRequirements
	if old != nil {
		before = *old
	}
	rest := r.DeepCopy()
	rest.Requests = computeAsBefore(r.Requests, before.Requests)
	rest.Limits = computeAsBefore(r.Limits, before.Limits)
	if old == nil && len(rest.Requests)+len(rest.Limits)+len(rest.Claims) == 0 {
		return nil
	}
	return rest
}

// computeAsBefore replaces cpu and memory by those of old.
func computeAsBefore(list, old v1.ResourceList) v1.ResourceList {
	rest := list.DeepCopy()
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		delete(rest, name)
		if q, had := old[name]; had {
			if rest == nil {
				rest = v1.ResourceList{}
			}
			rest[name] = q
		}
	}
	return rest
}
