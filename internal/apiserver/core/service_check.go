package core

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const maxAffinitySeconds = 86400 // a day, by the API's documentation of timeoutSeconds

var transportProtocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

func checkService(s *corev1.Service) field.ErrorList { return checkServiceAgainst(s, nil) }

func checkServiceUpdate(s, old *corev1.Service) field.ErrorList {
	return meta.Join(
		checkAddressChange(s, old),
		checkFamilyChange(s, old),
		checkClassChange(s, old),
		checkHealthPortChange(s, old),
		checkServiceAgainst(s, old),
	)
}

func checkServiceStatus(s, old *corev1.Service) field.ErrorList {
	return checkBalancerStatus(field.NewPath("status", "loadBalancer", "ingress"), s, old)
}

// checkServiceAgainst checks all rules of one object; old (nil at creation) only
// excuses addresses that were stored under more lenient rules.
func checkServiceAgainst(s, old *corev1.Service) field.ErrorList {
	spec := field.NewPath("spec")
	return meta.Join(
		checkTopologyAnnotations(s),
		checkServiceType(spec, s),
		checkServicePorts(spec.Child("ports"), s),
		metavalidation.ValidateLabels(s.Spec.Selector, spec.Child("selector")),
		checkAffinity(spec, &s.Spec),
		checkAddresses(s, old),
		checkExternalIPs(spec.Child("externalIPs"), s, old),
		meta.OneOf(spec.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName),
		checkPortClashes(spec.Child("ports"), s),
		checkSourceRanges(s, old),
		checkBalancerFields(spec, s),
		checkTrafficPolicies(spec, s),
	)
}

func checkTopologyAnnotations(s *corev1.Service) field.ErrorList {
	mode, hasMode := s.Annotations[corev1.AnnotationTopologyMode]
	hints, hasHints := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !hasMode || !hasHints || mode == hints {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(corev1.AnnotationTopologyMode), mode,
		fmt.Sprintf("must match annotations[%s] when both are specified", corev1.DeprecatedAnnotationTopologyAwareHints))}
}

func checkServiceType(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	if len(s.Spec.Ports) == 0 && !Headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(spec.Child("ports"), ""))
	}
	if NeedsNodePorts(s) && Headless(s) {
		errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
			fmt.Sprintf("may not be set to 'None' for %s services", s.Spec.Type)))
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		errs = append(errs, checkExternalName(spec, &s.Spec)...)
	}
	return errs
}

func checkExternalName(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	forbid := func(is bool, name string) {
		if is {
			errs = append(errs, field.Forbidden(path.Child(name), "may not be set for ExternalName services"))
		}
	}
	forbid(len(spec.ClusterIPs) > 0, "clusterIPs")
	forbid(len(spec.IPFamilies) > 0, "ipFamilies")
	forbid(spec.IPFamilyPolicy != nil, "ipFamilyPolicy")
	name := strings.TrimSuffix(spec.ExternalName, ".") // a trailing dot makes a name absolute
	if name == "" {
		return append(errs, field.Required(path.Child("externalName"), ""))
	}
	return append(errs, meta.DNSSubdomain(path.Child("externalName"), name)...)
}

func checkServicePorts(path *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range s.Spec.Ports {
		port, at := &s.Spec.Ports[i], path.Index(i)
		switch {
		case port.Name == "" && len(s.Spec.Ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), ""))
		case port.Name != "":
			errs = append(errs, meta.DNSLabel(at.Child("name"), port.Name)...)
			if names.Has(port.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
			}
			names.Insert(port.Name)
		}
		errs = append(errs, meta.Port(at.Child("port"), port.Port)...)
		errs = append(errs, meta.OneOf(at.Child("protocol"), port.Protocol, transportProtocols...)...)
		errs = append(errs, meta.PortOrName(at.Child("targetPort"), port.TargetPort)...)
		if port.AppProtocol != nil {
			errs = append(errs, meta.QualifiedName(at.Child("appProtocol"), *port.AppProtocol)...)
		}
	}
	return errs
}

func checkAffinity(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	errs := meta.OneOf(path.Child("sessionAffinity"), spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	path = path.Child("sessionAffinityConfig")
	config := spec.SessionAffinityConfig
	if spec.SessionAffinity == corev1.ServiceAffinityNone && config != nil {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("must not be set when session affinity is %s", corev1.ServiceAffinityNone)))
	}
	if spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return errs
	}
	required := fmt.Sprintf("when session affinity type is %s", corev1.ServiceAffinityClientIP)
	switch {
	case config == nil:
		errs = append(errs, field.Required(path, required))
	case config.ClientIP == nil:
		errs = append(errs, field.Required(path.Child("clientIP"), required))
	case config.ClientIP.TimeoutSeconds == nil:
		errs = append(errs, field.Required(path.Child("clientIP", "timeoutSeconds"), required))
	default:
		if seconds := *config.ClientIP.TimeoutSeconds; seconds <= 0 || seconds > maxAffinitySeconds {
			errs = append(errs, field.Invalid(path.Child("clientIP", "timeoutSeconds"), seconds,
				fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySeconds)))
		}
	}
	return errs
}

// checkAddresses checks clusterIP(s), ipFamilies and ipFamilyPolicy together.
func checkAddresses(s, old *corev1.Service) field.ErrorList {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil // all of them must be unset, which checkExternalName sees to
	}
	ips, path := s.Spec.ClusterIPs, field.NewPath("spec", "clusterIPs")
	errs := meta.Join(checkSingularIP(path, s), checkFamilies(&s.Spec))
	invalid := checkIPValues(path, s, old)
	errs = append(errs, invalid...)
	if len(ips) > 2 {
		errs = append(errs, field.Invalid(path, ips, "may only hold up to 2 values"))
	}
	if len(invalid) > 0 {
		return errs // what follows would only blame the same values again
	}
	if len(ips) > 1 {
		dual, err := netutils.IsDualStackIPStrings(ips)
		if err != nil {
			errs = append(errs, field.InternalError(path, errors.New("failed to check for dual stack with error:"+err.Error())))
		}
		if !dual {
			errs = append(errs, field.Invalid(path, ips, "may specify no more than one IP for each IP family"))
		}
	}
	if Headless(s) {
		return errs
	}
	for i, ip := range ips {
		if i < len(s.Spec.IPFamilies) && slices.Contains(ipFamilies, s.Spec.IPFamilies[i]) && s.Spec.IPFamilies[i] != familyOf(ip) {
			errs = append(errs, field.Invalid(path.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%v]`", s.Spec.IPFamilies[i], i)))
		}
	}
	return errs
}

func checkSingularIP(path *field.Path, s *corev1.Service) field.ErrorList {
	ip, ips := s.Spec.ClusterIP, s.Spec.ClusterIPs
	switch {
	case ip == "" && len(ips) > 0:
		return field.ErrorList{field.Invalid(path, ips, "must be empty when `clusterIP` is not specified")}
	case ip != "" && len(ips) == 0:
		return field.ErrorList{field.Required(path, "")}
	case ip != "" && ips[0] != ip:
		return field.ErrorList{field.Invalid(path, ips, "first value must match `clusterIP`")}
	}
	return nil
}

var ipFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}

func checkFamilies(spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "ipFamilies")
	for i, family := range spec.IPFamilies {
		errs = append(errs, meta.Supported(path.Index(i), family, ipFamilies...)...)
		if slices.Contains(spec.IPFamilies[:i], family) {
			errs = append(errs, field.Duplicate(path.Index(i), family))
		}
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, meta.Supported(field.NewPath("spec", "ipFamilyPolicy"), *spec.IPFamilyPolicy,
			corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack)...)
	}
	return errs
}

func checkIPValues(path *field.Path, s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	var stored []string
	if old != nil {
		stored = old.Spec.ClusterIPs
	}
	for i, ip := range s.Spec.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(s.Spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(path, s.Spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		errs = append(errs, meta.IP(path.Index(i), ip, stored...)...)
	}
	return errs
}

func checkExternalIPs(path *field.Path, s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	var stored []string
	if old != nil {
		stored = old.Spec.ExternalIPs
	}
	for i, ip := range s.Spec.ExternalIPs {
		if wrong := meta.IP(path.Index(i), ip, stored...); len(wrong) > 0 {
			errs = append(errs, wrong...)
			continue
		}
		errs = append(errs, meta.EndpointIP(path.Index(i), ip)...)
	}
	return errs
}

func checkPortClashes(path *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	ports, nodePorts := sets.New[corev1.ServicePort](), sets.New[corev1.ServicePort]()
	if s.Spec.Type == corev1.ServiceTypeClusterIP {
		for i, port := range s.Spec.Ports {
			if port.NodePort != 0 {
				errs = append(errs, field.Forbidden(path.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	}
	for i, port := range s.Spec.Ports {
		key := corev1.ServicePort{Protocol: port.Protocol, NodePort: port.NodePort}
		if port.NodePort != 0 && nodePorts.Has(key) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), port.NodePort))
		}
		nodePorts.Insert(key)
	}
	for i, port := range s.Spec.Ports {
		key := corev1.ServicePort{Protocol: port.Protocol, Port: port.Port}
		if ports.Has(key) {
			errs = append(errs, field.Duplicate(path.Index(i), key))
		}
		ports.Insert(key)
	}
	return errs
}

// checkSourceRanges checks who may reach a load balancer, given by the field or
// by the annotation that is older than it. Spaces around a range are allowed.
func checkSourceRanges(s, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec", "LoadBalancerSourceRanges")
	ranges, stored := s.Spec.LoadBalancerSourceRanges, []string(nil)
	if old != nil {
		stored = trimmed(old.Spec.LoadBalancerSourceRanges)
	}
	annotation, annotated := s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]
	at := path.Index
	if len(ranges) == 0 && annotated {
		path = field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
		at = func(int) *field.Path { return path }
		unchanged := old != nil && old.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey] == annotation
		if strings.TrimSpace(annotation) != "" && !unchanged {
			ranges = strings.Split(annotation, ",")
		}
	} else if len(ranges) == 0 {
		return nil
	}
	var errs field.ErrorList
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(path, "may only be used when `type` is 'LoadBalancer'"))
	}
	for i, cidr := range trimmed(ranges) {
		errs = append(errs, meta.CIDR(at(i), cidr, stored...)...)
	}
	return errs
}

func trimmed(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.TrimSpace(s)
	}
	return out
}

func checkBalancerFields(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	const only = "may only be used when `type` is 'LoadBalancer'"
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		if s.Spec.AllocateLoadBalancerNodePorts == nil {
			errs = append(errs, field.Required(field.NewPath("allocateLoadBalancerNodePorts"), ""))
		}
		if s.Spec.LoadBalancerClass != nil {
			errs = append(errs, meta.QualifiedName(spec.Child("loadBalancerClass"), *s.Spec.LoadBalancerClass)...)
		}
		return errs
	}
	if s.Spec.AllocateLoadBalancerNodePorts != nil {
		errs = append(errs, field.Forbidden(spec.Child("allocateLoadBalancerNodePorts"), only))
	}
	if s.Spec.LoadBalancerClass != nil {
		errs = append(errs, field.Forbidden(spec.Child("loadBalancerClass"), only))
	}
	return errs
}

func checkTrafficPolicies(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	external := s.Spec.ExternalTrafficPolicy
	if ExternallyAccessible(s) {
		errs = append(errs, meta.OneOf(spec.Child("externalTrafficPolicy"), external,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	} else if external != "" {
		errs = append(errs, field.Invalid(spec.Child("externalTrafficPolicy"), external, "may only be set for externally-accessible services"))
	}
	health := s.Spec.HealthCheckNodePort
	switch needed := NeedsHealthPort(s); {
	case needed && health == 0:
		errs = append(errs, field.Required(spec.Child("healthCheckNodePort"), ""))
	case needed:
		errs = append(errs, meta.Port(spec.Child("healthCheckNodePort"), health)...)
	case health != 0:
		errs = append(errs, field.Invalid(spec.Child("healthCheckNodePort"), health,
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	}
	if internal := s.Spec.InternalTrafficPolicy; internal != nil {
		errs = append(errs, meta.Supported(spec.Child("internalTrafficPolicy"), *internal,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	} else if inCluster(s.Spec.Type) {
		errs = append(errs, field.Required(spec.Child("internalTrafficPolicy"), ""))
	}
	if near := s.Spec.TrafficDistribution; near != nil {
		known := []string{corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode}
		if !slices.Contains(known, *near) {
			errs = append(errs, field.NotSupported(spec.Child("trafficDistribution"), *near, known))
		}
	}
	return errs
}

func checkBalancerStatus(path *field.Path, s, old *corev1.Service) field.ErrorList {
	ingress := s.Status.LoadBalancer.Ingress
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(ingress) > 0 {
		return field.ErrorList{field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var stored []string
	for _, before := range old.Status.LoadBalancer.Ingress {
		stored = append(stored, before.IP)
	}
	var errs field.ErrorList
	for i, entry := range ingress {
		at := path.Index(i)
		if entry.IP != "" {
			errs = append(errs, meta.IP(at.Child("ip"), entry.IP, stored...)...)
		}
		errs = append(errs, checkIPMode(at.Child("ipMode"), entry)...)
		if entry.Hostname != "" {
			errs = append(errs, meta.Invalid(at.Child("hostname"), entry.Hostname, validation.IsDNS1123Subdomain(entry.Hostname))...)
			if netutils.ParseIPSloppy(entry.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), entry.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

func checkIPMode(path *field.Path, entry corev1.LoadBalancerIngress) field.ErrorList {
	switch {
	case entry.IPMode == nil && entry.IP != "":
		return field.ErrorList{field.Required(path, "must be specified when `ip` is set")}
	case entry.IPMode != nil && entry.IP == "":
		return field.ErrorList{field.Forbidden(path, "may not be specified when `ip` is not set")}
	case entry.IPMode != nil:
		return meta.Supported(path, *entry.IPMode, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)
	}
	return nil
}

// warnService is what the API tells about fields that have no effect or no future.
func warnService(s *corev1.Service) []string {
	spec := field.NewPath("spec")
	var warnings []string
	warn := func(is bool, format string, args ...any) {
		if is {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	_, hinted := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	warn(hinted, "annotation %s is deprecated, please use %s instead", corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode)
	headless := s.Spec.Type == corev1.ServiceTypeClusterIP && s.Spec.ClusterIP == corev1.ClusterIPNone
	if s.Spec.ClusterIP != "" && !headless {
		for i, ip := range s.Spec.ClusterIPs {
			warnings = append(warnings, validation.GetWarningsForIP(spec.Child("clusterIPs").Index(i), ip)...)
		}
	}
	warn(headless && s.Spec.LoadBalancerIP != "", "spec.loadBalancerIP is ignored for headless services")
	warn(headless && len(s.Spec.ExternalIPs) > 0, "spec.externalIPs is ignored for headless services")
	warn(headless && s.Spec.SessionAffinity != corev1.ServiceAffinityNone, "spec.SessionAffinity is ignored for headless services")
	for i, ip := range s.Spec.ExternalIPs {
		warnings = append(warnings, validation.GetWarningsForIP(spec.Child("externalIPs").Index(i), ip)...)
	}
	external := s.Spec.Type == corev1.ServiceTypeExternalName
	warn(len(s.Spec.ExternalIPs) > 0 && !headless && !external, "spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	if s.Spec.LoadBalancerIP != "" {
		warnings = append(warnings, validation.GetWarningsForIP(spec.Child("loadBalancerIP"), s.Spec.LoadBalancerIP)...)
	}
	for i, cidr := range s.Spec.LoadBalancerSourceRanges {
		warnings = append(warnings, validation.GetWarningsForCIDR(spec.Child("loadBalancerSourceRanges").Index(i), cidr)...)
	}
	warn(external && len(s.Spec.ExternalIPs) > 0, "spec.externalIPs is ignored when spec.type is %q", corev1.ServiceTypeExternalName)
	warn(!external && s.Spec.ExternalName != "", "spec.externalName is ignored when spec.type is not %q", corev1.ServiceTypeExternalName)
	warn(meta.Deref(s.Spec.TrafficDistribution, "") == corev1.ServiceTrafficDistributionPreferClose,
		"spec.trafficDistribution: %q is deprecated; use %q", corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone)
	return warnings
}
