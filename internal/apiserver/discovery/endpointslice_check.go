package discovery

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// How much one slice may hold.
const (
	mostEndpoints = 1000
	mostAddresses = 100
	mostPorts     = 20000
	mostLabels    = 16
	mostHints     = 8
)

func checkEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	return append(checkSlice(s), checkSliceEndpoints(s)...)
}

func checkEndpointSliceUpdate(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	endpoints := checkSliceEndpoints(s)
	if len(endpoints) > 0 && equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
		endpoints = nil // stored under other rules
	}
	return meta.Join(checkSlice(s), endpoints, meta.Unchanged(field.NewPath("addressType"), s.AddressType, old.AddressType))
}

func checkSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	types := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN}
	errs := meta.OneOf(field.NewPath("addressType"), s.AddressType, types...)
	path := field.NewPath("ports")
	if len(s.Ports) > mostPorts {
		return append(errs, field.TooMany(path, len(s.Ports), mostPorts))
	}
	names := make([]string, 0, len(s.Ports))
	for i, port := range s.Ports {
		at, name := path.Index(i), meta.Deref(port.Name, "")
		if name != "" {
			errs = append(errs, meta.DNSLabel(at.Child("name"), name)...)
		}
		if slices.Contains(names, name) {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		names = append(names, name)
		errs = append(errs, meta.Supported(at.Child("protocol"), meta.Deref(port.Protocol, ""), corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		if port.AppProtocol != nil {
			errs = append(errs, meta.QualifiedName(at.Child("appProtocol"), *port.AppProtocol)...)
		}
	}
	return errs
}

func checkSliceEndpoints(s *discoveryv1.EndpointSlice) field.ErrorList {
	path := field.NewPath("endpoints")
	if len(s.Endpoints) > mostEndpoints {
		return field.ErrorList{field.TooMany(path, len(s.Endpoints), mostEndpoints)}
	}
	var errs field.ErrorList
	for i := range s.Endpoints {
		errs = append(errs, checkEndpoint(path.Index(i), s.AddressType, &s.Endpoints[i])...)
	}
	return errs
}

func checkEndpoint(path *field.Path, t discoveryv1.AddressType, e *discoveryv1.Endpoint) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(addresses, ""))
	case n > mostAddresses:
		errs = append(errs, field.TooMany(addresses, n, mostAddresses))
	}
	for i, address := range e.Addresses {
		errs = append(errs, checkAddress(addresses, i, t, address)...)
	}
	if e.NodeName != nil {
		errs = append(errs, checkNodeName(path.Child("nodeName"), *e.NodeName)...)
	}
	topology := path.Child("deprecatedTopology")
	if len(e.DeprecatedTopology) > mostLabels {
		errs = append(errs, field.TooMany(topology, len(e.DeprecatedTopology), mostLabels))
	}
	errs = append(errs, metavalidation.ValidateLabels(e.DeprecatedTopology, topology)...)
	if e.Hostname != nil {
		errs = append(errs, meta.DNSLabel(path.Child("hostname"), *e.Hostname)...)
	}
	if e.Hints != nil {
		errs = append(errs, checkHints(path.Child("hints"), e.Hints)...)
	}
	return errs
}

func checkNodeName(path *field.Path, name string) field.ErrorList {
	return meta.Invalid(path, name, apivalidation.NameIsDNSSubdomain(name, false))
}

func checkAddress(path *field.Path, i int, t discoveryv1.AddressType, address string) field.ErrorList {
	at := path.Index(i)
	var errs field.ErrorList
	switch t {
	case discoveryv1.AddressTypeIPv4:
		if errs = meta.IP(at, address); len(errs) > 0 {
			return errs
		}
		if !netutils.IsIPv4String(address) {
			errs = append(errs, field.Invalid(path, address, "must be an IPv4 address"))
		}
	case discoveryv1.AddressTypeIPv6:
		if errs = validation.IsValidIP(at, address); len(errs) > 0 {
			return errs
		}
		if !netutils.IsIPv6String(address) {
			errs = append(errs, field.Invalid(path, address, "must be an IPv6 address"))
		}
	case discoveryv1.AddressTypeFQDN:
		return validation.IsFullyQualifiedDomainName(at, address)
	default:
		return nil
	}
	return append(errs, meta.EndpointIP(at, address)...)
}

func checkHints(path *field.Path, h *discoveryv1.EndpointHints) field.ErrorList {
	zones, nodes := path.Child("forZones"), path.Child("forNodes")
	if len(h.ForZones) > mostHints {
		return field.ErrorList{field.TooMany(zones, len(h.ForZones), mostHints)}
	}
	var errs field.ErrorList
	for i, zone := range h.ForZones {
		at := zones.Index(i).Child("name")
		if slices.Contains(h.ForZones[:i], zone) {
			errs = append(errs, field.Duplicate(at, zone.Name))
		}
		errs = append(errs, meta.Invalid(at, zone.Name, validation.IsValidLabelValue(zone.Name))...)
	}
	if len(h.ForNodes) > mostHints {
		return append(errs, field.TooMany(nodes, len(h.ForNodes), mostHints))
	}
	for i, node := range h.ForNodes {
		at := nodes.Index(i).Child("name")
		if slices.Contains(h.ForNodes[:i], node) {
			errs = append(errs, field.Duplicate(at, node.Name))
		}
		errs = append(errs, checkNodeName(at, node.Name)...)
	}
	return errs
}
