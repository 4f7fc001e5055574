package discovery

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// An EndpointSlice lists some of the addresses that a service's traffic goes to.
func endpointSlices() resource.Resource {
	docs := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: discoveryv1.SchemeGroupVersion,
		Name:         "endpointslices",
		Singular:     "endpointslice",
		Kind:         "EndpointSlice",
		Namespaced:   true,
		New:          func() runtime.Object { return &discoveryv1.EndpointSlice{} },
		NewList:      func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Generation:   true,
		SpecOf:       meta.Spec(sliceContents),
		Default:      meta.Default(defaultEndpointSlice),
		Prepare:      meta.Prepare(func(s *discoveryv1.EndpointSlice) { dropTopology(s, nil) }),
		Check:        meta.Check(checkEndpointSlice),
		Warn:         meta.Warn(warnEndpointSlice),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(dropTopology),
			CheckUpdate:   meta.CheckUpdate(checkEndpointSliceUpdate),
			WarnUpdate:    meta.WarnUpdate(func(s, _ *discoveryv1.EndpointSlice) []string { return warnAddresses(s) }),
			Unconditional: true,
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("AddressType", docs["addressType"]),
			meta.String("Ports", docs["ports"]),
			meta.String("Endpoints", docs["endpoints"]),
			meta.Created(),
		),
		Row: meta.Row(endpointSliceRow),
	}
}

// sliceContents includes labels: one of them says whose the slice is.
func sliceContents(s *discoveryv1.EndpointSlice) any {
	return discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Labels: s.Labels}, AddressType: s.AddressType, Endpoints: s.Endpoints, Ports: s.Ports}
}

func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		meta.SetDefault(&s.Ports[i].Name, "")
		meta.SetDefault(&s.Ports[i].Protocol, corev1.ProtocolTCP)
	}
}

// dropTopology drops the field that nodeName and zone replace. A node name that
// was stored in it is kept, as nodeName.
func dropTopology(s, old *discoveryv1.EndpointSlice) {
	stored := sets.New[string]()
	if old != nil {
		if equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
			return
		}
		for _, endpoint := range old.Endpoints {
			stored.Insert(endpoint.DeprecatedTopology[corev1.LabelHostname])
		}
	}
	for i := range s.Endpoints {
		endpoint := &s.Endpoints[i]
		node := endpoint.DeprecatedTopology[corev1.LabelHostname]
		if endpoint.NodeName == nil && node != "" && stored.Has(node) && len(apivalidation.NameIsDNSSubdomain(node, false)) == 0 {
			endpoint.NodeName = &node
		}
		endpoint.DeprecatedTopology = nil
	}
}

// Whoever writes many slices writes only good addresses.
var ownManagers = sets.New("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")

func warnEndpointSlice(s *discoveryv1.EndpointSlice) []string {
	var warnings []string
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		warnings = append(warnings, "spec.addressType: FQDN endpoints are deprecated")
	}
	return append(warnings, warnAddresses(s)...)
}

func warnAddresses(s *discoveryv1.EndpointSlice) []string {
	if ownManagers.Has(s.Labels[discoveryv1.LabelManagedBy]) {
		return nil
	}
	var warnings []string
	for i, endpoint := range s.Endpoints {
		for j, address := range endpoint.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), address)...)
		}
	}
	return warnings
}

func endpointSliceRow(s *discoveryv1.EndpointSlice, now metav1.Time) []any {
	const shown = 3
	var ports, addresses []string
	for _, port := range s.Ports {
		switch {
		case port.Port != nil:
			ports = append(ports, strconv.Itoa(int(*port.Port)))
		case port.Name != nil:
			ports = append(ports, *port.Name)
		default:
			ports = append(ports, "*")
		}
	}
	for _, endpoint := range s.Endpoints {
		addresses = append(addresses, endpoint.Addresses...)
	}
	cell := func(list []string) string {
		if text := meta.FirstOf(list, shown); text != "" {
			return text
		}
		return meta.Unset
	}
	return []any{s.Name, string(s.AddressType), cell(ports), cell(addresses), meta.Age(s.CreationTimestamp, now)}
}
