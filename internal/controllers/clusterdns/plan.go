package clusterdns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The names by which programs look for a cluster's resolver.
const (
	namespace = metav1.NamespaceSystem
	service   = "kube-dns"
	port      = 53
)

// Labels that stock manifests and network policies select the resolver by.
func Labels() map[string]string { return map[string]string{"k8s-app": "kube-dns"} }

// Namespace that the resolver counts as a part of.
const Namespace = namespace

// Annotation of a node tells where its resolver listens: ADDRESS:PORT, one a
// family, between commas.
const Annotation = "proa.dev/dns"

const managedBy = "clusterdns.proa.dev"

// wantService: without a selector, since no pods stand behind it.
func wantService(ips []netip.Addr) *v1.Service {
	labels := Labels()
	labels["kubernetes.io/cluster-service"] = "true"
	labels["kubernetes.io/name"] = "CoreDNS" // the value that stock tools know
	near := v1.ServiceTrafficDistributionPreferSameNode
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service, Labels: labels},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeClusterIP,
			Ports: []v1.ServicePort{
				{Name: "dns", Protocol: v1.ProtocolUDP, Port: port, TargetPort: intstr.FromInt32(port)},
				{Name: "dns-tcp", Protocol: v1.ProtocolTCP, Port: port, TargetPort: intstr.FromInt32(port)},
			},
			TrafficDistribution: &near,
		},
	}
	policy := v1.IPFamilyPolicySingleStack
	if len(ips) > 1 {
		policy = v1.IPFamilyPolicyRequireDualStack
	}
	s.Spec.IPFamilyPolicy = &policy
	for _, ip := range ips {
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, ip.String())
	}
	s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	return s
}

// wantSlices lists the resolvers of nodes: a slice for each port and family, one
// for nearly every cluster. Pods are sent to the resolver of their own node.
func wantSlices(nodes []*v1.Node) map[string]*discovery.EndpointSlice {
	want := map[string]*discovery.EndpointSlice{}
	sorted := slices.SortedFunc(slices.Values(nodes), func(a, b *v1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range sorted {
		for text := range strings.SplitSeq(n.Annotations[Annotation], ",") {
			at, err := netip.ParseAddrPort(text)
			if err != nil {
				continue // a node of another make has no resolver
			}
			slice := emptySlice(at)
			if have, ok := want[slice.Name]; ok {
				slice = have
			}
			ready := isAlive(n)
			slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{
				Addresses: []string{at.Addr().String()}, NodeName: &n.Name,
				Conditions: discovery.EndpointConditions{Ready: &ready},
				Hints:      &discovery.EndpointHints{ForNodes: []discovery.ForNode{{Name: n.Name}}},
			})
			want[slice.Name] = slice
		}
	}
	return want
}

func emptySlice(at netip.AddrPort) *discovery.EndpointSlice {
	family, suffix := discovery.AddressTypeIPv4, "ipv4"
	if at.Addr().Is6() {
		family, suffix = discovery.AddressTypeIPv6, "ipv6"
	}
	name, number := fmt.Sprintf("%s-%s", service, suffix), int32(at.Port())
	if number != port {
		name = fmt.Sprintf("%s-%d", name, number)
	}
	udp, tcp, dns, dnsTCP := v1.ProtocolUDP, v1.ProtocolTCP, "dns", "dns-tcp"
	return &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
			discovery.LabelServiceName: service, discovery.LabelManagedBy: managedBy,
		}},
		AddressType: family,
		Ports:       []discovery.EndpointPort{{Name: &dns, Protocol: &udp, Port: &number}, {Name: &dnsTCP, Protocol: &tcp, Port: &number}},
	}
}

// isAlive: a resolver serves whatever else its node lacks, until nothing is
// heard of the node.
func isAlive(n *v1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status != v1.ConditionUnknown
		}
	}
	return true
}

// step is what must be written.
type step struct {
	create, update []*discovery.EndpointSlice
	remove         []*discovery.EndpointSlice
}

func plan(want map[string]*discovery.EndpointSlice, have []*discovery.EndpointSlice) (s step) {
	seen := map[string]bool{}
	for _, h := range have {
		seen[h.Name] = true
		w, keep := want[h.Name]
		switch {
		case !keep:
			s.remove = append(s.remove, h)
		case !equality.Semantic.DeepEqual(w.Endpoints, h.Endpoints) || !equality.Semantic.DeepEqual(w.Ports, h.Ports):
			changed := h.DeepCopy()
			changed.Endpoints, changed.Ports = w.Endpoints, w.Ports
			s.update = append(s.update, changed)
		}
	}
	for name, w := range want {
		if !seen[name] {
			s.create = append(s.create, w)
		}
	}
	return s
}
