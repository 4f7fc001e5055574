package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A Service is a stable address for pods. Its addresses and node ports are
// allocated by the server before the checks here run; service_address.go is
// what the allocation can be decided by.
func services() resource.Resource {
	spec := corev1.ServiceSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "services",
		Singular:     "service",
		Kind:         "Service",
		ShortNames:   []string{"svc"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.Service{} },
		NewList:      func() runtime.Object { return &corev1.ServiceList{} },
		Default:      meta.Default(defaultService),
		Check:        meta.Check(checkService),
		Warn:         meta.Warn(warnService),
		CheckName:    apivalidation.NameIsDNSLabel,
		Update: resource.Update{
			PrepareUpdate:  meta.PrepareUpdate(prepareServiceUpdate),
			CheckUpdate:    meta.CheckUpdate(checkServiceUpdate),
			WarnUpdate:     meta.WarnUpdate(func(s, _ *corev1.Service) []string { return warnService(s) }),
			Reset:          [][]string{{"status"}},
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkServiceStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(s *corev1.Service) fields.Set {
			return fields.Set{"spec.clusterIP": s.Spec.ClusterIP, "spec.type": string(s.Spec.Type)}
		}),
		Columns: meta.Table(
			meta.Name(),
			meta.String("Type", spec["type"]),
			meta.String("Cluster-IP", spec["clusterIP"]),
			meta.String("External-IP", spec["externalIPs"]),
			meta.String("Port(s)", spec["ports"]),
			meta.Created(),
			meta.Wide(meta.String("Selector", spec["selector"])),
		),
		Row: meta.Row(serviceRow),
	}
}

func defaultService(s *corev1.Service) {
	spec := &s.Spec
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	defaultAffinity(spec)
	for i := range spec.Ports {
		defaultServicePort(&spec.Ports[i])
	}
	if ExternallyAccessible(s) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if inCluster(spec.Type) {
		meta.SetDefault(&spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	meta.SetDefault(&spec.AllocateLoadBalancerNodePorts, true)
	for i, ingress := range s.Status.LoadBalancer.Ingress {
		if ingress.IP != "" {
			meta.SetDefault(&s.Status.LoadBalancer.Ingress[i].IPMode, corev1.LoadBalancerIPModeVIP)
		}
	}
}

func defaultAffinity(spec *corev1.ServiceSpec) {
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		config := spec.SessionAffinityConfig
		if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
			seconds := corev1.DefaultClientIPServiceAffinitySeconds
			spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
		}
	}
}

func defaultServicePort(port *corev1.ServicePort) {
	if port.Protocol == "" {
		port.Protocol = corev1.ProtocolTCP
	}
	if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
		port.TargetPort = intstr.FromInt32(port.Port)
	}
}

func serviceRow(s *corev1.Service, now metav1.Time) []any {
	address := meta.None
	if len(s.Spec.ClusterIPs) > 0 {
		address = s.Spec.ClusterIPs[0]
	}
	return []any{
		s.Name, string(s.Spec.Type), address, externalAddress(s), portsCell(s.Spec.Ports),
		meta.Age(s.CreationTimestamp, now), labels.FormatLabels(s.Spec.Selector),
	}
}

func externalAddress(s *corev1.Service) string {
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		if len(s.Spec.ExternalIPs) == 0 {
			return meta.None
		}
		return strings.Join(s.Spec.ExternalIPs, ",")
	case corev1.ServiceTypeLoadBalancer:
		addresses := append(balancerAddresses(s.Status.LoadBalancer), s.Spec.ExternalIPs...)
		if len(addresses) == 0 {
			return "<pending>"
		}
		return strings.Join(addresses, ",")
	}
	return meta.Unknown
}

// balancerAddresses lists a load balancer's addresses once each, in order.
func balancerAddresses(status corev1.LoadBalancerStatus) []string {
	found := sets.New[string]()
	for _, ingress := range status.Ingress {
		if ingress.IP != "" {
			found.Insert(ingress.IP)
		} else if ingress.Hostname != "" {
			found.Insert(ingress.Hostname)
		}
	}
	return sets.List(found)
}

func portsCell(ports []corev1.ServicePort) string {
	if len(ports) == 0 {
		return meta.None
	}
	cells := make([]string, len(ports))
	for i, port := range ports {
		if port.NodePort > 0 {
			cells[i] = fmt.Sprintf("%d:%d/%s", port.Port, port.NodePort, port.Protocol)
		} else {
			cells[i] = fmt.Sprintf("%d/%s", port.Port, port.Protocol)
		}
	}
	return strings.Join(cells, ",")
}
