package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const fixed = "may not change once set"

// A service keeps its addresses for life. A second family may be added, and
// released again with policy SingleStack; a change from or to ExternalName starts anew.

func checkAddressChange(s, old *corev1.Service) field.ErrorList {
	if !NeedsClusterIP(s) || !NeedsClusterIP(old) || Headless(s) && Headless(old) {
		return nil
	}
	ips, before := s.Spec.ClusterIPs, old.Spec.ClusterIPs
	path := field.NewPath("spec", "clusterIPs")
	var errs field.ErrorList
	for i, ip := range before {
		second := i > 0 && len(ips) != len(before) // adding or releasing is judged below
		if i < len(ips) && ip != ips[i] && !second {
			errs = append(errs, field.Invalid(path.Index(i), ips, fixed))
		}
	}
	if len(before) > 0 && len(ips) == 0 {
		errs = append(errs, field.Invalid(path.Index(0), ips, "primary clusterIP can not be unset"))
	}
	if len(before) > len(ips) && len(ips) == 1 && !singleStack(s) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy,
			"must be set to 'SingleStack' when releasing the secondary clusterIP"))
	}
	return errs
}

func checkFamilyChange(s, old *corev1.Service) field.ErrorList {
	if !NeedsClusterIP(s) || !NeedsClusterIP(old) || Headless(s) || Headless(old) {
		return nil
	}
	families, before := s.Spec.IPFamilies, old.Spec.IPFamilies
	path := field.NewPath("spec", "ipFamilies").Index(0)
	var errs field.ErrorList
	for i, family := range before {
		second := i > 0 && len(families) != len(before)
		if i < len(families) && family != families[i] && !second {
			errs = append(errs, field.Invalid(path, families, fixed))
		}
	}
	if len(before) > len(families) {
		if len(s.Spec.ClusterIPs) == 0 {
			errs = append(errs, field.Invalid(path, families, "primary ipFamily can not be unset"))
		}
		if len(families) == 1 && !singleStack(s) {
			errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy,
				"must be set to 'SingleStack' when releasing the secondary ipFamily"))
		}
	}
	return errs
}

func singleStack(s *corev1.Service) bool {
	return meta.Deref(s.Spec.IPFamilyPolicy, "") == corev1.IPFamilyPolicySingleStack
}

func checkClassChange(s, old *corev1.Service) field.ErrorList {
	class, before := s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass
	same := (class == nil) == (before == nil) && meta.Deref(class, "") == meta.Deref(before, "")
	if same || s.Spec.Type != corev1.ServiceTypeLoadBalancer || old.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "loadBalancerClass"), class, fixed)}
}

func checkHealthPortChange(s, old *corev1.Service) field.ErrorList {
	if !NeedsHealthPort(s) || !NeedsHealthPort(old) || s.Spec.HealthCheckNodePort == old.Spec.HealthCheckNodePort {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec", "healthCheckNodePort"), meta.Immutable)}
}
