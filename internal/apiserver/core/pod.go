package core

import (
	"context"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/kit/pods"
)

// Pods describes the pod. What a spec may say is in podspec; here is what
// happens to a pod: creation, the four ways to update it, deletion, its row.
func Pods() resource.Resource {
	return resource.Resource{
		GroupVersion: v1.SchemeGroupVersion,
		Name:         "pods",
		Singular:     "pod",
		Kind:         "Pod",
		ShortNames:   []string{"po"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &v1.Pod{} },
		NewList:      func() runtime.Object { return &v1.PodList{} },
		Default:      meta.Default(podspec.DefaultPod),
		Generation:   true,
		SpecOf:       meta.Spec(func(pod *v1.Pod) any { return pod.Spec }),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(preparePodUpdate),
			CheckUpdate:   meta.CheckUpdate(checkPodUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Prepare: func(ctx context.Context, obj runtime.Object) { preparePod(ctx, obj.(*v1.Pod)) },
		Check:   meta.Check(checkPod),
		Warn:    meta.Warn(podWarnings),
		Delete:  func(obj runtime.Object, asked *int64) (int64, bool) { return podGrace(obj.(*v1.Pod), asked), true },
		Subresources: map[string]resource.Update{
			"status":              podStatus(),
			"ephemeralcontainers": podEphemeralContainers(),
			"resize":              podResize(),
		},
		Fields:        meta.Fields(podFields),
		IndexField:    "spec.nodeName",
		Columns:       podColumns(),
		Row:           meta.Row(podRow),
		RowConditions: func(obj runtime.Object) []metav1.TableRowCondition { return podRowConditions(obj.(*v1.Pod)) },
	}
}

// preparePod readies a pod for creation: its status starts over, and what depends
// on the whole pod is written down once.
func preparePod(ctx context.Context, pod *v1.Pod) {
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	podspec.DropUnserved(&pod.Spec, pod.Annotations)
	if len(pod.Spec.SchedulingGates) > 0 {
		pod.Status.Conditions = []v1.PodCondition{{
			Type:               v1.PodScheduled,
			Status:             v1.ConditionFalse,
			Reason:             v1.PodReasonSchedulingGated,
			Message:            "Scheduling is blocked due to non-empty scheduling gates",
			LastTransitionTime: pod.CreationTimestamp,
		}}
	}
	podspec.MergeLabelKeys(&pod.Spec, pod.Labels)
	appArmorFromAnnotations(ctx, pod)
	podspec.CompleteResources(&pod.Spec)
	pod.Status.QOSClass = pods.ComputeQOSClass(pod)
}

// appArmorFromAnnotations moves what old manifests say by annotation to the
// field. The warning is given here, because afterwards nobody can tell which of
// the two the author wrote.
func appArmorFromAnnotations(ctx context.Context, pod *v1.Pod) {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == v1.Windows {
		return
	}
	var ofPod *v1.AppArmorProfile
	if pod.Spec.SecurityContext != nil {
		ofPod = pod.Spec.SecurityContext.AppArmorProfile
	}
	for c := range podspec.All(&pod.Spec) {
		key := podspec.AppArmorOfContainer + c.Name
		value, said := pod.Annotations[key]
		if !said || c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			continue
		}
		profile := podspec.AppArmorFromAnnotation(value)
		if len(podspec.CheckAppArmor(profile, field.NewPath(""))) > 0 {
			profile = nil
		}
		if profile != nil && equality.Semantic.DeepEqual(profile, ofPod) {
			continue // the pod's own profile says the same
		}
		if profile != nil {
			if c.SecurityContext == nil {
				c.SecurityContext = &v1.SecurityContext{}
			}
			c.SecurityContext.AppArmorProfile = profile
		}
		warning.AddWarning(ctx, "", field.NewPath("metadata", "annotations").Key(key).String()+": "+podspec.DeprecatedAppArmor)
	}
}

// checkPod reports all that is wrong with a new pod.
func checkPod(pod *v1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := checkPodObject(pod, podspec.Options{})
	if len(pod.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if pod.Spec.NodeName != "" && len(pod.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return append(errs, podspec.ValidateProfiles(pod.Annotations, &pod.Spec, spec)...)
}

// checkPodObject is what a pod must be at its creation and after every update.
func checkPodObject(pod *v1.Pod, opts podspec.Options) field.ErrorList {
	opts.IsPod = true
	spec := field.NewPath("spec")
	errs := meta.Join(
		podspec.ValidateAnnotations(pod.Annotations, &pod.Spec, field.NewPath("metadata", "annotations"), opts),
		podspec.ValidateSpec(&pod.Spec, &pod.ObjectMeta, spec, opts),
		checkTokensHaveAccount(pod, spec),
	)
	if grace := pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		errs = append(errs, meta.NonNegative(spec.Child("terminationGracePeriodSeconds"), *grace)...)
	}
	return append(errs, meta.Join(
		podspec.ValidateImages(pod.Spec.Containers, spec.Child("containers")),
		podspec.ValidateImages(pod.Spec.InitContainers, spec.Child("initContainers")),
	)...)
}

// checkTokensHaveAccount: a token is somebody's.
func checkTokensHaveAccount(pod *v1.Pod, spec *field.Path) field.ErrorList {
	if pod.Spec.ServiceAccountName != "" {
		return nil
	}
	var errs field.ErrorList
	for i, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for j, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				at := spec.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken")
				errs = append(errs, field.Forbidden(at, "must not be specified when serviceAccountName is not set"))
			}
		}
	}
	return errs
}

func podWarnings(pod *v1.Pod) []string {
	var warnings []string
	if msgs := validation.IsDNS1123Label(pod.Name); len(msgs) > 0 {
		warnings = append(warnings, "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: "+bracketed(msgs))
	}
	return append(warnings, podspec.Warnings(&pod.Spec, pod.Annotations, nil)...)
}

// podGrace is the time in seconds a pod gets to end. A pod that no node runs has
// nothing to end.
func podGrace(pod *v1.Pod, asked *int64) int64 {
	switch {
	case pod.Spec.NodeName == "", pod.Status.Phase == v1.PodFailed, pod.Status.Phase == v1.PodSucceeded:
		return 0
	case asked == nil:
		asked = pod.Spec.TerminationGracePeriodSeconds
	}
	switch {
	case asked == nil:
		return 0
	case *asked < 0:
		return 1
	}
	return *asked
}

// podFields are what a field selector may name.
func podFields(pod *v1.Pod) fields.Set {
	ip := ""
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return fields.Set{
		"spec.nodeName":            pod.Spec.NodeName,
		"spec.restartPolicy":       string(pod.Spec.RestartPolicy),
		"spec.schedulerName":       pod.Spec.SchedulerName,
		"spec.serviceAccountName":  pod.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(pod.Spec.HostNetwork),
		"status.phase":             string(pod.Status.Phase),
		"status.podIP":             ip,
		"status.nominatedNodeName": pod.Status.NominatedNodeName,
	}
}
