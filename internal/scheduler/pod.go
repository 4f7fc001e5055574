package scheduler

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
)

// podInfo is a pod with everything worked out that is asked of it again and
// again. It is never changed.
type podInfo struct {
	*v1.Pod
	priority int32
	requests quantities
	presumed quantities
	ports    []hostPort
	needs    []term         // required affinity
	avoids   []term         // required anti-affinity
	prefers  []weightedTerm // preferred affinity; of anti-affinity with a negative weight
}

// term is a pod affinity term: the pods that it means, and what is one place to it.
type term struct {
	namespaces        sets.Set[string]
	namespaceSelector labels.Selector
	selector          labels.Selector
	topologyKey       string
}

type weightedTerm struct {
	term
	weight int64
}

// matches says that a pod is meant, given the labels of its namespace.
func (t *term) matches(pod *v1.Pod, namespace labels.Set) bool {
	if !t.namespaces.Has(pod.Namespace) && !t.namespaceSelector.Matches(namespace) {
		return false
	}
	return t.selector.Matches(labels.Set(pod.Labels))
}

func newPodInfo(pod *v1.Pod) *podInfo {
	info := &podInfo{
		Pod: pod, priority: corev1.PodPriority(pod), requests: requestsOf(pod), presumed: presumedOf(pod), ports: hostPortsOf(pod),
	}
	affinity := pod.Spec.Affinity
	if affinity == nil {
		return info
	}
	if a := affinity.PodAffinity; a != nil {
		info.needs = terms(pod, a.RequiredDuringSchedulingIgnoredDuringExecution)
		info.prefers = append(info.prefers, weighted(pod, a.PreferredDuringSchedulingIgnoredDuringExecution, 1)...)
	}
	if a := affinity.PodAntiAffinity; a != nil {
		info.avoids = terms(pod, a.RequiredDuringSchedulingIgnoredDuringExecution)
		info.prefers = append(info.prefers, weighted(pod, a.PreferredDuringSchedulingIgnoredDuringExecution, -1)...)
	}
	return info
}

func terms(pod *v1.Pod, list []v1.PodAffinityTerm) (out []term) {
	for i := range list {
		out = append(out, newTerm(pod, &list[i]))
	}
	return out
}

func weighted(pod *v1.Pod, list []v1.WeightedPodAffinityTerm, sign int64) (out []weightedTerm) {
	for i := range list {
		out = append(out, weightedTerm{newTerm(pod, &list[i].PodAffinityTerm), sign * int64(list[i].Weight)})
	}
	return out
}

func newTerm(pod *v1.Pod, t *v1.PodAffinityTerm) term {
	namespaces := sets.New(t.Namespaces...)
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		namespaces.Insert(pod.Namespace)
	}
	return term{namespaces, selectorOf(t.NamespaceSelector), selectorOf(t.LabelSelector), t.TopologyKey}
}

// selectorOf matches nothing where there is no selector, or one that the API
// server should have refused.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

func ended(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}
