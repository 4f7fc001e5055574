// Package quota computes what objects count for in ResourceQuotas: for admission,
// which refuses what would be too much, and for the controller, which sums up.
package quota

import (
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	helper "k8s.io/component-helpers/resource"

	"github.com/proa-project/proa/internal/kit/pods"
)

const (
	countPrefix    = "count/"
	requestsPrefix = "requests."
	classSuffix    = ".storageclass.storage.k8s.io/"
)

func one() resource.Quantity { return *resource.NewQuantity(1, resource.DecimalSI) }

// Pod counts itself as long as it is stored, and what it asks for until it has
// ended or its grace is over: a lost node shall not keep its user from going on.
func Pod(p *v1.Pod, now time.Time) v1.ResourceList {
	used := v1.ResourceList{countPrefix + "pods": one()}
	if p.Status.Phase == v1.PodFailed || p.Status.Phase == v1.PodSucceeded || overdue(p, now) {
		return used
	}
	used[v1.ResourcePods] = one()
	for name, q := range helper.PodRequests(p, helper.PodResourcesOptions{UseStatusResources: true}) {
		switch {
		case name == v1.ResourceCPU, name == v1.ResourceMemory, name == v1.ResourceEphemeralStorage, strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix):
			used[name] = q
			used[requestsPrefix+name] = q
		case strings.Contains(string(name), "/"):
			used[requestsPrefix+name] = q
		}
	}
	for name, q := range helper.PodLimits(p, helper.PodResourcesOptions{UseStatusResources: true}) {
		if name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage {
			used["limits."+name] = q
		}
	}
	return used
}

func overdue(p *v1.Pod, now time.Time) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil &&
		now.After(p.DeletionTimestamp.Add(time.Duration(*p.DeletionGracePeriodSeconds)*time.Second))
}

// Service counts its node ports and load balancer beside itself.
func Service(s *v1.Service) v1.ResourceList {
	used := v1.ResourceList{countPrefix + "services": one(), v1.ResourceServices: one(), v1.ResourceServicesNodePorts: {Format: resource.DecimalSI}, v1.ResourceServicesLoadBalancers: {Format: resource.DecimalSI}}
	ports := int64(0)
	switch s.Spec.Type {
	case v1.ServiceTypeNodePort:
		ports = int64(len(s.Spec.Ports))
	case v1.ServiceTypeLoadBalancer:
		used[v1.ResourceServicesLoadBalancers] = one()
		allocates := s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts
		for _, p := range s.Spec.Ports {
			if allocates || p.NodePort != 0 {
				ports++
			}
		}
	}
	used[v1.ResourceServicesNodePorts] = *resource.NewQuantity(ports, resource.DecimalSI)
	return used
}

// Claim counts its storage, in all and of its class.
func Claim(c *v1.PersistentVolumeClaim) v1.ResourceList {
	used := v1.ResourceList{countPrefix + "persistentvolumeclaims": one(), v1.ResourcePersistentVolumeClaims: one()}
	class := c.Annotations[v1.BetaStorageClassAnnotation]
	if class == "" && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if class != "" {
		used[v1.ResourceName(class+classSuffix)+v1.ResourcePersistentVolumeClaims] = one()
	}
	if q, asks := storageOf(c); asks {
		used[v1.ResourceRequestsStorage] = q
		if class != "" {
			used[v1.ResourceName(class+classSuffix)+v1.ResourceRequestsStorage] = q
		}
	}
	return used
}

// storageOf a claim is what it asks for, or what a larger expansion that was
// given up may have taken; in whole bytes, as quotas count.
func storageOf(c *v1.PersistentVolumeClaim) (resource.Quantity, bool) {
	q, asks := c.Spec.Resources.Requests[v1.ResourceStorage]
	if !asks {
		return q, false
	}
	if allocated, has := c.Status.AllocatedResources[v1.ResourceStorage]; has && allocated.Cmp(q) > 0 {
		q = allocated
	}
	q = q.DeepCopy()
	q.RoundUp(0)
	return q, true
}

// MatchesPod says that a pod is one of those that a quota is about.
func MatchesPod(q *v1.ResourceQuota, p *v1.Pod) bool {
	return matches(q, func(r v1.ScopedResourceSelectorRequirement) bool { return PodInScope(p, r) })
}

// MatchesClaim says that a claim is one of those that a quota is about.
func MatchesClaim(q *v1.ResourceQuota, c *v1.PersistentVolumeClaim) bool {
	return matches(q, func(r v1.ScopedResourceSelectorRequirement) bool { return ClaimInScope(c, r) })
}

func matches(q *v1.ResourceQuota, in func(v1.ScopedResourceSelectorRequirement) bool) bool {
	for _, r := range Scopes(q) {
		if !in(r) {
			return false
		}
	}
	return true
}

// Scopes that an object must be in to count for a quota.
func Scopes(q *v1.ResourceQuota) (all []v1.ScopedResourceSelectorRequirement) {
	for _, s := range q.Spec.Scopes {
		all = append(all, v1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: v1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		all = append(all, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return all
}

// PodInScope says that a pod is in one scope.
func PodInScope(p *v1.Pod, r v1.ScopedResourceSelectorRequirement) bool {
	switch r.ScopeName {
	case v1.ResourceQuotaScopeTerminating:
		return p.Spec.ActiveDeadlineSeconds != nil
	case v1.ResourceQuotaScopeNotTerminating:
		return p.Spec.ActiveDeadlineSeconds == nil
	case v1.ResourceQuotaScopeBestEffort:
		return bestEffort(p)
	case v1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(p)
	case v1.ResourceQuotaScopePriorityClass:
		return ofClass(p, r)
	case v1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return affineAcross(p)
	}
	return false
}

func bestEffort(p *v1.Pod) bool { return pods.ComputeQOSClass(p) == v1.PodQOSBestEffort }

func ofClass(p *v1.Pod, r v1.ScopedResourceSelectorRequirement) bool {
	return selects(r, p.Spec.PriorityClassName)
}

// ClaimInScope says that a claim is in one scope. While its attributes change it
// is of the class that it leaves and of the one that it goes to.
func ClaimInScope(c *v1.PersistentVolumeClaim, r v1.ScopedResourceSelectorRequirement) bool {
	if r.ScopeName != v1.ResourceQuotaScopeVolumeAttributesClass {
		return false
	}
	var classes []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil && *name != "" {
			classes = append(classes, *name)
		}
	}
	if m := c.Status.ModifyVolumeStatus; m != nil && m.TargetVolumeAttributesClassName != "" {
		classes = append(classes, m.TargetVolumeAttributesClassName)
	}
	if len(classes) == 0 {
		return selects(r, "")
	}
	return slices.ContainsFunc(classes, func(class string) bool { return selects(r, class) })
}

// selects says that a requirement on a class is met by one; "" is none.
func selects(r v1.ScopedResourceSelectorRequirement, class string) bool {
	operator := map[v1.ScopeSelectorOperator]selection.Operator{
		v1.ScopeSelectorOpIn: selection.In, v1.ScopeSelectorOpNotIn: selection.NotIn,
		v1.ScopeSelectorOpExists: selection.Exists, v1.ScopeSelectorOpDoesNotExist: selection.DoesNotExist,
	}[r.Operator]
	requirement, err := labels.NewRequirement(string(r.ScopeName), operator, r.Values)
	if err != nil {
		return false
	}
	set := labels.Set{}
	if class != "" {
		set[string(r.ScopeName)] = class
	}
	return requirement.Matches(set)
}

func affineAcross(p *v1.Pod) bool {
	if p.Spec.Affinity == nil {
		return false
	}
	var terms []v1.PodAffinityTerm
	if a := p.Spec.Affinity.PodAffinity; a != nil {
		terms = append(terms, a.RequiredDuringSchedulingIgnoredDuringExecution...)
		for _, w := range a.PreferredDuringSchedulingIgnoredDuringExecution {
			terms = append(terms, w.PodAffinityTerm)
		}
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil {
		terms = append(terms, a.RequiredDuringSchedulingIgnoredDuringExecution...)
		for _, w := range a.PreferredDuringSchedulingIgnoredDuringExecution {
			terms = append(terms, w.PodAffinityTerm)
		}
	}
	return slices.ContainsFunc(terms, func(t v1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil })
}

// ObjectCount is the resource that counts the objects of a kind: the old name of
// some core kinds, or count/<resource>.<group>.
func ObjectCount(name v1.ResourceName) (gr metav1.GroupResource, is bool) {
	if counted, has := strings.CutPrefix(string(name), countPrefix); has {
		r, group, _ := strings.Cut(counted, ".")
		return metav1.GroupResource{Group: group, Resource: r}, true
	}
	switch name {
	case v1.ResourceReplicationControllers, v1.ResourceQuotas, v1.ResourceSecrets, v1.ResourceConfigMaps:
		return metav1.GroupResource{Resource: string(name)}, true
	}
	return metav1.GroupResource{}, false
}
