package endpointslicemirroring

import (
	"maps"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// name marks the slices that are ours, as in every Kubernetes cluster.
const name = "endpointslicemirroring-controller.k8s.io"

// maxAddresses of one subset are mirrored.
const maxAddresses = 1000

// skips says that somebody sees to the slices himself, or that the object is a
// lock of the old kind of leader election.
func skips(e *v1.Endpoints) bool {
	return e.Labels[discoveryv1.LabelSkipMirror] == "true" || e.Annotations["control-plane.alpha.kubernetes.io/leader"] != ""
}

// wanted are the slices of an Endpoints object: one for each set of ports and
// family of addresses. Their names follow from what they are for, so that none
// is made twice.
func wanted(e *v1.Endpoints) map[string]*discoveryv1.EndpointSlice {
	made := map[string]*discoveryv1.EndpointSlice{}
	for _, subset := range e.Subsets {
		ports := portsOf(subset.Ports)
		room := maxAddresses
		for _, part := range []struct {
			addresses []v1.EndpointAddress
			ready     bool
		}{{subset.Addresses, true}, {subset.NotReadyAddresses, false}} {
			for _, a := range part.addresses {
				family, endpoint, ok := endpointOf(a, part.ready)
				if !ok || room == 0 {
					continue
				}
				room--
				id := podcontrol.Prefix(e.Name) + podcontrol.Hash([]any{e.UID, family, ports}, nil)
				if made[id] == nil {
					made[id] = newSlice(e, id, family, ports)
				}
				made[id].Endpoints = append(made[id].Endpoints, endpoint)
			}
		}
	}
	return made
}

func portsOf(subset []v1.EndpointPort) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for _, p := range subset {
		ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
	}
	return ports
}

func endpointOf(a v1.EndpointAddress, ready bool) (discoveryv1.AddressType, discoveryv1.Endpoint, bool) {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil {
		return "", discoveryv1.Endpoint{}, false
	}
	ip = ip.Unmap()
	family := discoveryv1.AddressTypeIPv4
	if ip.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	e := discoveryv1.Endpoint{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, TargetRef: a.TargetRef, NodeName: a.NodeName}
	if a.Hostname != "" {
		e.Hostname = &a.Hostname
	}
	return family, e, true
}

func newSlice(e *v1.Endpoints, id string, family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: id, Namespace: e.Namespace, Labels: map[string]string{}, Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, v1.SchemeGroupVersion.WithKind("Endpoints"))},
		},
		AddressType: family, Ports: ports,
	}
	maps.Copy(s.Labels, e.Labels)
	s.Labels[discoveryv1.LabelServiceName], s.Labels[discoveryv1.LabelManagedBy] = e.Name, name
	for k, v := range e.Annotations {
		if k != v1.EndpointsLastChangeTriggerTime && k != v1.LastAppliedConfigAnnotation {
			s.Annotations[k] = v
		}
	}
	return s
}

// step is what is to be done now.
type step struct{ create, update, remove []*discoveryv1.EndpointSlice }

func plan(want map[string]*discoveryv1.EndpointSlice, have []*discoveryv1.EndpointSlice) (s step) {
	found := map[string]bool{}
	for _, h := range have {
		w := want[h.Name]
		switch {
		case w == nil:
			s.remove = append(s.remove, h)
			continue
		case !same(h, w):
			now := h.DeepCopy()
			now.Labels, now.Annotations, now.Endpoints, now.Ports, now.OwnerReferences = w.Labels, w.Annotations, w.Endpoints, w.Ports, w.OwnerReferences
			s.update = append(s.update, now)
		}
		found[h.Name] = true
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !found[id] {
			s.create = append(s.create, want[id])
		}
	}
	return s
}

func same(a, b *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) && equality.Semantic.DeepEqual(a.Ports, b.Ports) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}
