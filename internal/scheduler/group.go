package scheduler

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
)

// listers of what says which pods belong together, and which may not be ended.
type listers struct {
	services     corelisters.ServiceLister
	controllers  corelisters.ReplicationControllerLister
	replicaSets  appslisters.ReplicaSetLister
	statefulSets appslisters.StatefulSetLister
	budgets      policylisters.PodDisruptionBudgetLister
}

func newListers(f informers.SharedInformerFactory) listers {
	return listers{
		services: f.Core().V1().Services().Lister(), controllers: f.Core().V1().ReplicationControllers().Lister(),
		replicaSets: f.Apps().V1().ReplicaSets().Lister(), statefulSets: f.Apps().V1().StatefulSets().Lister(),
		budgets: f.Policy().V1().PodDisruptionBudgets().Lister(),
	}
}

// group matches the pods that a pod shares its Services and its owner with; nil
// if there is neither.
func (l listers) group(pod *v1.Pod) labels.Selector {
	selector := l.serviceLabels(pod).AsSelector()
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		requirements, _ := l.ownerSelector(pod.Namespace, owner).Requirements()
		selector = selector.Add(requirements...)
	}
	if selector.Empty() {
		return nil
	}
	return selector
}

func (l listers) serviceLabels(pod *v1.Pod) labels.Set {
	all := labels.Set{}
	services, err := l.services.Services(pod.Namespace).List(labels.Everything())
	if err != nil {
		return all // a lister in memory has no errors
	}
	for _, s := range services {
		if len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			all = labels.Merge(all, s.Spec.Selector)
		}
	}
	return all
}

func (l listers) ownerSelector(namespace string, owner *metav1.OwnerReference) labels.Selector {
	switch owner.Kind {
	case "ReplicationController":
		if o, err := l.controllers.ReplicationControllers(namespace).Get(owner.Name); err == nil {
			return labels.SelectorFromSet(o.Spec.Selector)
		}
	case "ReplicaSet":
		if o, err := l.replicaSets.ReplicaSets(namespace).Get(owner.Name); err == nil {
			return selectorOf(o.Spec.Selector)
		}
	case "StatefulSet":
		if o, err := l.statefulSets.StatefulSets(namespace).Get(owner.Name); err == nil {
			return selectorOf(o.Spec.Selector)
		}
	}
	return labels.Everything()
}
