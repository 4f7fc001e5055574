package admit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/admission"
	resourcehelper "k8s.io/component-helpers/resource"
)

const limitAnnotation = "kubernetes.io/limit-ranger"

// LimitRanges lists those of a namespace.
type LimitRanges func(ctx context.Context, namespace string) ([]*corev1.LimitRange, error)

// PodLimits gives pods the default resources of their namespace and holds
// them to its limits.
func PodLimits(list LimitRanges) admission.Interface {
	each := func(ctx context.Context, r Request[*corev1.Pod], f func(*corev1.LimitRange, *corev1.Pod) error) error {
		resize := r.GetSubresource() == "resize"
		if r.GetOperation() == admission.Update && !resize || r.Old != nil && r.Old.DeletionTimestamp != nil {
			return nil
		}
		ranges, err := list(ctx, r.GetNamespace())
		if err != nil {
			return admission.NewForbidden(r, fmt.Errorf("unable to %s %v at this time because there was an error enforcing limit ranges", r.GetOperation(), r.GetResource()))
		}
		for _, l := range ranges {
			if err := f(l, r.Object); err != nil {
				return admission.NewForbidden(r, err)
			}
		}
		return nil
	}
	return Plugin[*corev1.Pod]{Name: "LimitRanger", Resource: pods, Subresources: []string{"resize"}, Operations: onWrite,
		Mutate: func(ctx context.Context, r Request[*corev1.Pod]) error {
			return each(ctx, r, func(l *corev1.LimitRange, pod *corev1.Pod) error { defaultResources(pod, l); return nil })
		},
		Check: func(ctx context.Context, r Request[*corev1.Pod]) error { return each(ctx, r, checkPodLimits) },
	}
}

// ClaimLimits holds volume claims to the limits of their namespace.
func ClaimLimits(list LimitRanges) admission.Interface {
	return Plugin[*corev1.PersistentVolumeClaim]{Name: "LimitRanger", Resource: claims, Operations: onWrite,
		Check: func(ctx context.Context, r Request[*corev1.PersistentVolumeClaim]) error {
			if r.Old != nil && r.Old.DeletionTimestamp != nil {
				return nil
			}
			ranges, err := list(ctx, r.GetNamespace())
			if err != nil {
				return admission.NewForbidden(r, err)
			}
			var errs []error
			for _, l := range ranges {
				for _, item := range l.Spec.Limits {
					if item.Type == corev1.LimitTypePersistentVolumeClaim {
						errs = append(errs, checkClaim(item, r.Object.Spec.Resources.Requests)...)
					}
				}
			}
			return forbid(r, utilerrors.NewAggregate(errs))
		}}
}

func defaultResources(pod *corev1.Pod, l *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, item := range l.Spec.Limits {
		if item.Type == corev1.LimitTypeContainer {
			maps.Copy(requests, item.DefaultRequest)
			maps.Copy(limits, item.Default)
		}
	}
	var notes []string
	set := func(into *corev1.ResourceList, from corev1.ResourceList, what, kind, name string) {
		var added []string
		for _, k := range slices.Sorted(maps.Keys(from)) {
			if _, ok := (*into)[k]; ok {
				continue
			}
			if *into == nil {
				*into = corev1.ResourceList{}
			}
			(*into)[k] = from[k].DeepCopy()
			added = append(added, string(k))
		}
		if len(added) > 0 {
			notes = append(notes, fmt.Sprintf("%s %s for %s %s", strings.Join(added, ", "), what, kind, name))
		}
	}
	for kind, list := range orderedContainers(pod) {
		for i := range list {
			set(&list[i].Resources.Requests, requests, "request", kind, list[i].Name)
			set(&list[i].Resources.Limits, limits, "limit", kind, list[i].Name)
		}
	}
	if len(notes) > 0 {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[limitAnnotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
	}
}

func orderedContainers(pod *corev1.Pod) func(func(string, []corev1.Container) bool) {
	return func(yield func(string, []corev1.Container) bool) {
		_ = yield("container", pod.Spec.Containers) && yield("init container", pod.Spec.InitContainers)
	}
}

func checkPodLimits(l *corev1.LimitRange, pod *corev1.Pod) error {
	var errs []error
	for _, item := range l.Spec.Limits {
		switch item.Type {
		case corev1.LimitTypeContainer:
			for _, list := range orderedContainers(pod) {
				for i := range list {
					errs = append(errs, checkItem(item, list[i].Resources.Requests, list[i].Resources.Limits)...)
				}
			}
		case corev1.LimitTypePod:
			o := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
			errs = append(errs, checkItem(item, resourcehelper.PodRequests(pod, o), resourcehelper.PodLimits(pod, o))...)
		}
	}
	return utilerrors.NewAggregate(errs)
}

func checkItem(item corev1.LimitRangeItem, requests, limits corev1.ResourceList) (errs []error) {
	for _, k := range slices.Sorted(maps.Keys(item.Min)) {
		errs = add(errs, checkMin(item.Type, k, item.Min[k], requests, limits))
	}
	for _, k := range slices.Sorted(maps.Keys(item.Max)) {
		errs = add(errs, checkMax(item.Type, k, item.Max[k], requests, limits))
	}
	for _, k := range slices.Sorted(maps.Keys(item.MaxLimitRequestRatio)) {
		errs = add(errs, checkRatio(item.Type, k, item.MaxLimitRequestRatio[k], requests, limits))
	}
	return errs
}

func checkClaim(item corev1.LimitRangeItem, requests corev1.ResourceList) (errs []error) {
	for _, k := range slices.Sorted(maps.Keys(item.Min)) {
		errs = add(errs, checkMin(item.Type, k, item.Min[k], requests, nil))
	}
	for _, k := range slices.Sorted(maps.Keys(item.Max)) {
		m, request := item.Max[k], requests[k]
		switch _, ok := requests[k]; {
		case !ok:
			errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s.  No request is specified", k, item.Type, m.String()))
		case request.Cmp(m) > 0:
			errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", k, item.Type, m.String(), request.String()))
		}
	}
	return errs
}

func add(errs []error, err error) []error {
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

func checkMin(t corev1.LimitType, k corev1.ResourceName, m resource.Quantity, requests, limits corev1.ResourceList) error {
	request, ok := requests[k]
	limit, limited := limits[k]
	switch {
	case !ok:
		return fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", k, t, m.String())
	case request.Cmp(m) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but request is %s", k, t, m.String(), request.String())
	case limited && limit.Cmp(m) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", k, t, m.String(), limit.String())
	}
	return nil
}

func checkMax(t corev1.LimitType, k corev1.ResourceName, m resource.Quantity, requests, limits corev1.ResourceList) error {
	request, requested := requests[k]
	limit, ok := limits[k]
	switch {
	case !ok:
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", k, t, m.String())
	case limit.Cmp(m) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", k, t, m.String(), limit.String())
	case requested && request.Cmp(m) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", k, t, m.String(), request.String())
	}
	return nil
}

func checkRatio(t corev1.LimitType, k corev1.ResourceName, m resource.Quantity, requests, limits corev1.ResourceList) error {
	request, ok := requests[k]
	if !ok || request.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", k, t, m.String())
	}
	limit, ok := limits[k]
	if !ok || limit.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", k, t, m.String())
	}
	if ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > m.AsApproximateFloat64() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", k, t, m.String(), ratio)
	}
	return nil
}
