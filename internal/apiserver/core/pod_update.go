package core

import (
	"fmt"
	"math"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

func preparePodUpdate(pod, old *v1.Pod) {
	pod.Status = old.Status
	if pod.Spec.Resources == nil { // a client that doesn't know the field dropped it
		pod.Spec.Resources = old.Spec.Resources.DeepCopy()
	}
	podspec.DropUnserved(&pod.Spec, pod.Annotations)
}

func tolerating(old *v1.Pod) podspec.Options {
	return podspec.Tolerating(&old.Spec, old.Annotations)
}

const mayChange = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// checkPodUpdate lets little of a pod change, because a pod is what runs: images,
// a sooner end, more tolerations, and, while it is kept from being scheduled,
// where it may go.
func checkPodUpdate(pod, old *v1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	opts := tolerating(old)
	errs := meta.Join(checkPodObject(pod, opts), checkPodAnnotations(pod, old, opts))
	for _, list := range []struct {
		name     string
		new, old []v1.Container
	}{{"containers", pod.Spec.Containers, old.Spec.Containers}, {"initContainers", pod.Spec.InitContainers, old.Spec.InitContainers}} {
		if len(list.new) != len(list.old) {
			return append(errs, field.Forbidden(spec.Child(list.name), "pod updates may not add or remove containers"))
		}
	}
	deadline, stop := checkDeadlineUpdate(pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, spec.Child("activeDeadlineSeconds"))
	errs = append(errs, deadline...)
	if stop {
		return errs
	}
	errs = append(errs, meta.Join(
		checkTolerationsUpdate(pod.Spec.Tolerations, old.Spec.Tolerations, spec.Child("tolerations")),
		checkGatesUpdate(pod.Spec.SchedulingGates, old.Spec.SchedulingGates, spec.Child("schedulingGates")),
	)...)
	if equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		return errs
	}
	rest := withAllowedChangesUndone(&pod.Spec, &old.Spec)
	if len(old.Spec.SchedulingGates) > 0 {
		errs = append(errs, checkGatedUpdate(rest, &old.Spec, spec)...)
	}
	if !equality.Semantic.DeepEqual(*rest, old.Spec) {
		errs = append(errs, field.Forbidden(spec, fmt.Sprintf("pod updates may not change fields other than %s\n%v", mayChange, diff.Diff(old.Spec, *rest))))
	}
	return errs
}

// checkPodAnnotations guards the annotations that only the one who made the pod may set.
func checkPodAnnotations(pod, old *v1.Pod, opts podspec.Options) field.ErrorList {
	at := field.NewPath("metadata", "annotations")
	guarded := func(key string) (name string, is bool) {
		switch {
		case strings.HasPrefix(key, podspec.AppArmorOfContainer):
			return "AppArmor annotations", true
		case key == v1.MirrorPodAnnotationKey:
			return "mirror pod annotation", true
		}
		return "", false
	}
	var errs field.ErrorList
	for _, key := range meta.Sorted(old.Annotations) {
		value, kept := pod.Annotations[key]
		if name, is := guarded(key); is && (!kept || value != old.Annotations[key]) {
			errs = append(errs, field.Forbidden(at.Key(key), "may not remove or update "+name))
		}
	}
	for _, key := range meta.Sorted(pod.Annotations) {
		_, had := old.Annotations[key]
		if name, is := guarded(key); is && !had {
			errs = append(errs, field.Forbidden(at.Key(key), "may not add "+name))
		}
	}
	return append(errs, podspec.ValidateAnnotations(pod.Annotations, &pod.Spec, at, opts)...)
}

// checkDeadlineUpdate: a deadline may be set and may come sooner.
func checkDeadlineUpdate(deadline, old *int64, at *field.Path) (errs field.ErrorList, stop bool) {
	switch {
	case deadline == nil && old == nil:
	case deadline == nil:
		return field.ErrorList{field.Invalid(at, deadline, "must not update from a positive integer to nil value")}, false
	case *deadline < 0 || *deadline > math.MaxInt32:
		return field.ErrorList{field.Invalid(at, *deadline, validation.InclusiveRangeError(0, math.MaxInt32))}, true
	case old != nil && *deadline > *old:
		return field.ErrorList{field.Invalid(at, *deadline, "must be less than or equal to previous value")}, true
	}
	return nil, false
}

// checkTolerationsUpdate: tolerations may be added, and their time may change.
func checkTolerationsUpdate(tolerations, old []v1.Toleration, at *field.Path) field.ErrorList {
	for _, o := range old {
		kept := slices.ContainsFunc(tolerations, func(t v1.Toleration) bool {
			t.TolerationSeconds = o.TolerationSeconds
			return equality.Semantic.DeepEqual(t, o)
		})
		if !kept {
			return field.ErrorList{field.Forbidden(at, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return podspec.ValidateTolerations(tolerations, at)
}

// checkGatesUpdate: gates are opened one by one and never put up again.
func checkGatesUpdate(gates, old []v1.PodSchedulingGate, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, gate := range gates {
		if !slices.Contains(old, gate) {
			errs = append(errs, field.Forbidden(at.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name)))
		}
	}
	return errs
}

// withAllowedChangesUndone returns a copy in which all that may change is as it
// was; whatever still differs may not change.
func withAllowedChangesUndone(spec, old *v1.PodSpec) *v1.PodSpec {
	rest := spec.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = old.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = old.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	rest.SchedulingGates = old.SchedulingGates
	rest.Tolerations = old.Tolerations
	if was, is := old.TerminationGracePeriodSeconds, rest.TerminationGracePeriodSeconds; was != nil && *was < 0 && is != nil && *is == 1 {
		rest.TerminationGracePeriodSeconds = was
	}
	return rest
}

// checkGatedUpdate lets the pod be kept to fewer nodes while it is gated, and
// undoes that in rest. Pod affinity stays, because matchLabelKeys were merged
// into it at creation.
func checkGatedUpdate(rest, old *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !equality.Semantic.DeepEqual(rest.NodeSelector, old.NodeSelector) {
		for key, value := range old.NodeSelector {
			if now, kept := rest.NodeSelector[key]; !kept || now != value {
				errs = append(errs, field.Invalid(at.Child("nodeSelector"), rest.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
				break
			}
		}
		rest.NodeSelector = old.NodeSelector
	}
	was, is := nodeAffinity(old), nodeAffinity(rest)
	if equality.Semantic.DeepEqual(was, is) {
		return errs
	}
	errs = append(errs, checkNodeAffinityUpdate(is, was, at.Child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"))...)
	if rest.Affinity == nil {
		rest.Affinity = &v1.Affinity{}
	}
	rest.Affinity.NodeAffinity = was
	if old.Affinity == nil && *rest.Affinity == (v1.Affinity{}) {
		rest.Affinity = nil
	}
	return errs
}

func nodeAffinity(spec *v1.PodSpec) *v1.NodeAffinity {
	if spec.Affinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity
}

func nodeTerms(a *v1.NodeAffinity) []v1.NodeSelectorTerm {
	if a == nil || a.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
}

// checkNodeAffinityUpdate: terms are alternatives, so none may be added or
// removed; requirements in a term all hold, so adding one narrows.
func checkNodeAffinityUpdate(affinity, old *v1.NodeAffinity, at *field.Path) field.ErrorList {
	was, is := nodeTerms(old), nodeTerms(affinity)
	if len(was) == 0 {
		return nil
	}
	if len(was) != len(is) {
		return field.ErrorList{field.Invalid(at, is, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range was {
		if !narrows(is[i], was[i]) {
			errs = append(errs, field.Invalid(at.Index(i), is[i], "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func narrows(term, old v1.NodeSelectorTerm) bool {
	if len(old.MatchExpressions)+len(old.MatchFields) == 0 { // it selects nothing, so any addition widens
		return len(term.MatchExpressions)+len(term.MatchFields) == 0
	}
	return startsWith(term.MatchExpressions, old.MatchExpressions) && startsWith(term.MatchFields, old.MatchFields)
}

func startsWith(list, old []v1.NodeSelectorRequirement) bool {
	return len(list) >= len(old) && (len(old) == 0 || equality.Semantic.DeepEqual(list[:len(old)], old))
}

// bracketed is a list of messages as the API prints one inside a sentence.
func bracketed(msgs []string) string { return fmt.Sprint(msgs) }
