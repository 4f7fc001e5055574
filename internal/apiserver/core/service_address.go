package core

import (
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// This file is the pure part of allocation: what a Service's address fields mean
// together. The server calls, before the object is checked:
//
//	create: SyncClusterIPs(s, nil);  ResolveFamilies(s, nil, families);  allocate
//	update: KeepAllocated(s, old); SyncClusterIPs(s, old); ResolveFamilies(s, old, families); allocate

// NeedsClusterIP tells whether the type has an address in the cluster ("None" counts).
func NeedsClusterIP(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }

// NeedsNodePorts tells whether the type opens ports on every node.
func NeedsNodePorts(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// WantsNodePorts is NeedsNodePorts, minus balancers that were told to do without.
func WantsNodePorts(s *corev1.Service) bool {
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return meta.Deref(s.Spec.AllocateLoadBalancerNodePorts, true)
	}
	return s.Spec.Type == corev1.ServiceTypeNodePort
}

// NeedsHealthPort tells whether a load balancer asks each node for local endpoints.
func NeedsHealthPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// ExternallyAccessible tells whether traffic may come from outside of the cluster.
func ExternallyAccessible(s *corev1.Service) bool {
	return NeedsNodePorts(s) || s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
}

// Headless tells a service without an address of its own.
func Headless(s *corev1.Service) bool {
	return len(s.Spec.ClusterIPs) == 1 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
}

func inCluster(t corev1.ServiceType) bool {
	return t == corev1.ServiceTypeClusterIP || t == corev1.ServiceTypeNodePort || t == corev1.ServiceTypeLoadBalancer
}

// SyncClusterIPs keeps clusterIP and clusterIPs one fact for clients that know
// only the older, singular field. Contradictions are left for the check.
func SyncClusterIPs(s, old *corev1.Service) {
	if old == nil {
		if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}
		return
	}
	sameSingular := s.Spec.ClusterIP == old.Spec.ClusterIP
	if sameSingular && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
	}
	if sameSingular || !slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		return
	}
	// Only the singular field was touched: cleared, or set to something else.
	s.Spec.ClusterIPs = nil
	if s.Spec.ClusterIP != "" {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}

// KeepAllocated fills what was allocated for the stored object and the update
// leaves out, so that applying the same manifest twice changes nothing.
func KeepAllocated(s, old *corev1.Service) {
	if NeedsClusterIP(s) && NeedsClusterIP(old) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	}
	if NeedsNodePorts(s) && NeedsNodePorts(old) {
		keepNodePorts(s, old)
	}
	if NeedsHealthPort(s) && NeedsHealthPort(old) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts carries node ports over by port name, except those that the
// update already gives to some port.
func keepNodePorts(s, old *corev1.Service) {
	taken := nodePorts(s).Intersection(nodePorts(old))
	byName := map[string]int32{}
	for _, port := range old.Spec.Ports {
		byName[port.Name] = port.NodePort
	}
	for i := range s.Spec.Ports {
		port := &s.Spec.Ports[i]
		if before := byName[port.Name]; port.NodePort == 0 && !taken.Has(before) {
			port.NodePort = before
		}
	}
}

func nodePorts(s *corev1.Service) sets.Set[int32] {
	ports := sets.New[int32]()
	for _, port := range s.Spec.Ports {
		if port.NodePort != 0 {
			ports.Insert(port.NodePort)
		}
	}
	return ports
}

// ResolveFamilies fills ipFamilyPolicy and ipFamilies. families are those the
// cluster has service addresses for, its primary one first; old is nil at creation.
func ResolveFamilies(s, old *corev1.Service, families []corev1.IPFamily) field.ErrorList {
	if !NeedsClusterIP(s) || preferDualUntouched(s, old) {
		return nil
	}
	if s.Spec.IPFamilyPolicy == nil {
		s.Spec.IPFamilyPolicy = inferPolicy(s, old)
	}
	if errs := checkAddresses(s, old); len(errs) > 0 {
		return errs
	}
	if errs := meta.Join(resolveReduction(s, old), checkSingleStack(s), inferFamilies(s, families)); len(errs) > 0 {
		return errs
	}
	if s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0 {
		// Nobody but the user knows the families of endpoints that are added by hand.
		if len(s.Spec.IPFamilies) == 0 {
			s.Spec.IPFamilies = families[:1:1]
		}
		if *s.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
			addOtherFamily(s)
		}
		return nil
	}
	if errs := checkFamiliesServed(s, families); len(errs) > 0 {
		return errs
	}
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = families[:1:1]
	}
	if *s.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack && len(families) == 2 {
		addOtherFamily(s)
	}
	return nil
}

// preferDualUntouched: a PreferDualStack service is never upgraded or downgraded
// only because the cluster changed since.
func preferDualUntouched(s, old *corev1.Service) bool {
	prefers := func(s *corev1.Service) bool {
		return s.Spec.IPFamilyPolicy != nil && *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyPreferDualStack
	}
	return old != nil && s.Spec.Type == old.Spec.Type && inCluster(s.Spec.Type) && prefers(s) &&
		(old.Spec.IPFamilyPolicy == nil || prefers(old)) &&
		slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) && slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies)
}

func inferPolicy(s, old *corev1.Service) *corev1.IPFamilyPolicy {
	if old != nil && old.Spec.IPFamilyPolicy != nil {
		return old.Spec.IPFamilyPolicy
	}
	policy := corev1.IPFamilyPolicySingleStack
	if s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	return &policy
}

// resolveReduction drops the second address and family on the way to SingleStack,
// and refuses to drop them without that policy.
func resolveReduction(s, old *corev1.Service) field.ErrorList {
	if old == nil {
		return nil
	}
	if *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack {
		if len(s.Spec.ClusterIPs) > 1 && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
			s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
		}
		if len(s.Spec.IPFamilies) > 1 && slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) {
			s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
		}
		return nil
	}
	var errs field.ErrorList
	path := field.NewPath("spec", "ipFamilyPolicy")
	if n := len(s.Spec.ClusterIPs); n > 0 && n < len(old.Spec.ClusterIPs) {
		errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP"))
	}
	if n := len(s.Spec.IPFamilies); n > 0 && n < len(old.Spec.IPFamilies) {
		errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family"))
	}
	return errs
}

func checkSingleStack(s *corev1.Service) field.ErrorList {
	if *s.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		return nil
	}
	var errs field.ErrorList
	path := field.NewPath("spec", "ipFamilyPolicy")
	if len(s.Spec.ClusterIPs) == 2 {
		errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"))
	}
	if len(s.Spec.IPFamilies) == 2 {
		errs = append(errs, field.Invalid(path, s.Spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
	}
	return errs
}

// inferFamilies takes the families of addresses that were asked for by value.
func inferFamilies(s *corev1.Service, families []corev1.IPFamily) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range s.Spec.ClusterIPs {
		if ip == corev1.ClusterIPNone || i < len(s.Spec.IPFamilies) {
			continue
		}
		if family := familyOf(ip); slices.Contains(families, family) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, family)
		} else {
			errs = append(errs, field.Invalid(field.NewPath("spec", "clusterIPs").Index(i), s.Spec.ClusterIPs,
				fmt.Sprintf("%s is not configured on this cluster", family)))
		}
	}
	return errs
}

func checkFamiliesServed(s *corev1.Service, families []corev1.IPFamily) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(families) < 2 {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, family := range s.Spec.IPFamilies {
		if !slices.Contains(families, family) {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), family, "not configured on this cluster"))
		}
	}
	return errs
}

func addOtherFamily(s *corev1.Service) {
	if len(s.Spec.IPFamilies) != 1 {
		return
	}
	other := corev1.IPv4Protocol
	if s.Spec.IPFamilies[0] == corev1.IPv4Protocol {
		other = corev1.IPv6Protocol
	}
	s.Spec.IPFamilies = []corev1.IPFamily{s.Spec.IPFamilies[0], other}
}

func familyOf(ip string) corev1.IPFamily {
	if netutils.IsIPv6String(ip) {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// prepareServiceUpdate clears what stopped making sense with
// a change of type, where the user left it as it was.
func prepareServiceUpdate(s, old *corev1.Service) {
	if NeedsClusterIP(old) && !NeedsClusterIP(s) {
		if s.Spec.ClusterIP == old.Spec.ClusterIP && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
			s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
		}
		if slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) {
			s.Spec.IPFamilies = nil
		}
		dropSame(&s.Spec.IPFamilyPolicy, old.Spec.IPFamilyPolicy)
	}
	if NeedsNodePorts(old) && !NeedsNodePorts(s) && nodePorts(old).IsSuperset(nodePorts(s)) {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = 0
		}
	}
	if NeedsHealthPort(old) && !NeedsHealthPort(s) && s.Spec.HealthCheckNodePort == old.Spec.HealthCheckNodePort {
		s.Spec.HealthCheckNodePort = 0
	}
	if ExternallyAccessible(old) && !ExternallyAccessible(s) && s.Spec.ExternalTrafficPolicy == old.Spec.ExternalTrafficPolicy {
		s.Spec.ExternalTrafficPolicy = ""
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return
	}
	if old.Spec.Type == corev1.ServiceTypeLoadBalancer {
		dropSame(&s.Spec.AllocateLoadBalancerNodePorts, old.Spec.AllocateLoadBalancerNodePorts)
		dropSame(&s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass)
	}
	s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
}

func dropSame[T any](p **T, old *T) {
	if reflect.DeepEqual(*p, old) {
		*p = nil
	}
}
