package aggregation

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// condition is what a look at a Service, or at the server behind it, came to.
func condition(status registrationv1.ConditionStatus, reason, message string) registrationv1.APIServiceCondition {
	return registrationv1.APIServiceCondition{Type: registrationv1.Available, Status: status, Reason: reason, Message: message}
}

var passed = condition(registrationv1.ConditionTrue, "Passed", "all checks passed")

// reachable says, in stock wording, why there is no endpoint to be asked; nil
// if there is one. service is nil if there is none.
func reachable(ref *registrationv1.ServiceReference, service *corev1.Service, endpoints []*discoveryv1.EndpointSlice) *registrationv1.APIServiceCondition {
	no := func(reason, format string, args ...any) *registrationv1.APIServiceCondition {
		c := condition(registrationv1.ConditionFalse, reason, fmt.Sprintf(format, args...))
		return &c
	}
	if service == nil {
		return no("ServiceNotFound", "service/%s in %q is not present", ref.Name, ref.Namespace)
	}
	if service.Spec.Type != corev1.ServiceTypeClusterIP {
		return nil // is elsewhere, or behind something that can't be seen from here
	}
	port := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return ref.Port != nil && p.Port == *ref.Port })
	switch {
	case port < 0:
		return no("ServicePortError", "service/%s in %q is not listening on port %d", ref.Name, ref.Namespace, *ref.Port)
	case len(endpoints) == 0:
		return no("EndpointsNotFound", "cannot find endpointslices for service/%s in %q", ref.Name, ref.Namespace)
	}
	if name := service.Spec.Ports[port].Name; !slices.ContainsFunc(endpoints, func(s *discoveryv1.EndpointSlice) bool { return ready(s, name) }) {
		return no("MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", ref.Name, ref.Namespace, name)
	}
	return nil
}

func ready(s *discoveryv1.EndpointSlice, portName string) bool {
	return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }) &&
		slices.ContainsFunc(s.Ports, func(p discoveryv1.EndpointPort) bool {
			return p.Port != nil && (p.Name == nil && portName == "" || p.Name != nil && *p.Name == portName)
		})
}

// set puts c among the conditions; it tells whether that changed anything.
func set(s *registrationv1.APIServiceStatus, c registrationv1.APIServiceCondition) bool {
	i := slices.IndexFunc(s.Conditions, func(have registrationv1.APIServiceCondition) bool { return have.Type == c.Type })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return true
	}
	have := &s.Conditions[i]
	if have.Status == c.Status {
		c.LastTransitionTime = have.LastTransitionTime
	}
	if *have == c {
		return false
	}
	*have = c
	return true
}
