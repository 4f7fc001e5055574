package podspec

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// MergeLabelKeys writes the values that the pod's own labels give to
// matchLabelKeys and mismatchLabelKeys into the selectors, so that the scheduler
// reads selectors only. Once, at a pod's creation.
func MergeLabelKeys(spec *v1.PodSpec, labels map[string]string) {
	for term := range podTerms(spec) {
		mergeKeys(term.LabelSelector, term.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
		mergeKeys(term.LabelSelector, term.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, labels)
	}
	for i := range spec.TopologySpreadConstraints {
		c := &spec.TopologySpreadConstraints[i]
		mergeKeys(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
	}
}

func mergeKeys(selector *metav1.LabelSelector, keys []string, operator metav1.LabelSelectorOperator, labels map[string]string) {
	if selector == nil { // it selects nothing, and shall go on so
		return
	}
	for _, key := range keys {
		if value, ok := labels[key]; ok {
			selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: []string{value}})
		}
	}
}

// CompleteResources completes the resources of the pod as a whole from those of
// its containers. Not a default, because it needs all containers, those that
// admission adds too.
func CompleteResources(spec *v1.PodSpec) {
	r := spec.Resources
	if r == nil || len(r.Requests) == 0 && len(r.Limits) == 0 {
		return
	}
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: spec.Containers, InitContainers: spec.InitContainers}}
	limits := resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	requests := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for name, sum := range limits {
		if _, asked := r.Requests[name]; !asked && isHugePages(name) {
			setQuantity(&r.Limits, name, sum)
		}
	}
	for name, sum := range requests {
		if resourcehelper.IsSupportedPodLevelResource(name) && !isHugePages(name) {
			setQuantity(&r.Requests, name, sum)
		}
	}
	for name, limit := range r.Limits {
		if resourcehelper.IsSupportedPodLevelResource(name) {
			setQuantity(&r.Requests, name, limit)
		}
	}
	limitFromContainers(r, pod)
}

// limitFromContainers limits the pod to the sum of its containers' limits where
// all of them have one.
func limitFromContainers(r *v1.ResourceRequirements, pod *v1.Pod) {
	sums := resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	for name, request := range r.Requests {
		sum, limited := sums[name]
		if !limited || !resourcehelper.IsSupportedPodLevelResource(name) || !allLimited(pod, name) {
			continue
		}
		if request.Cmp(sum) > 0 {
			sum = request
		}
		setQuantity(&r.Limits, name, sum)
	}
}

func allLimited(pod *v1.Pod, name v1.ResourceName) bool {
	for c := range All(&pod.Spec) {
		if _, limited := c.Resources.Limits[name]; !limited {
			return false
		}
	}
	return true
}

// setQuantity sets an amount that has none yet.
func setQuantity(list *v1.ResourceList, name v1.ResourceName, q resource.Quantity) {
	if _, set := (*list)[name]; set {
		return
	}
	if *list == nil {
		*list = v1.ResourceList{}
	}
	(*list)[name] = q.DeepCopy()
}
