package endpoints

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	library "k8s.io/endpointslice"
	"k8s.io/endpointslice/util"
)

// Labels of objects that this controller made, and how many addresses one holds.
const (
	managedBy   = "endpoints.kubernetes.io/managed-by"
	name        = "endpoint-controller"
	maxCapacity = 1000
	truncated   = "truncated"
)

// plan gives the subsets of a service: its pods' addresses, those with the same
// ports together.
func plan(service *v1.Service, pods []*v1.Pod) []v1.EndpointSubset {
	groups := map[string]*v1.EndpointSubset{}
	for _, pod := range pods {
		address, ok := addressOf(service, pod)
		if !ok {
			continue
		}
		ports := portsOf(service, pod)
		if len(ports) == 0 && (len(service.Spec.Ports) > 0 || service.Spec.ClusterIP != v1.ClusterIPNone) {
			continue
		}
		id := portsID(ports)
		group := groups[id]
		if group == nil {
			group = &v1.EndpointSubset{Ports: ports}
			groups[id] = group
		}
		if service.Spec.PublishNotReadyAddresses || util.IsPodReady(pod) {
			group.Addresses = append(group.Addresses, address)
		} else {
			group.NotReadyAddresses = append(group.NotReadyAddresses, address)
		}
	}
	subsets := []v1.EndpointSubset{}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		group := groups[id]
		slices.SortFunc(group.Addresses, byAddress)
		slices.SortFunc(group.NotReadyAddresses, byAddress)
		subsets = append(subsets, *group)
	}
	return subsets
}

func byAddress(a, b v1.EndpointAddress) int {
	return cmp.Or(strings.Compare(a.IP, b.IP), strings.Compare(string(a.TargetRef.UID), string(b.TargetRef.UID)))
}

// addressOf a pod in the family of the service, if it is to be found in it.
func addressOf(service *v1.Service, pod *v1.Pod) (v1.EndpointAddress, bool) {
	if !util.ShouldPodBeInEndpoints(pod, service.Spec.PublishNotReadyAddresses) {
		return v1.EndpointAddress{}, false
	}
	ip, ok := addressIn(service, pod.Status)
	if !ok {
		return v1.EndpointAddress{}, false
	}
	address := v1.EndpointAddress{IP: ip, TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
	if pod.Spec.NodeName != "" {
		address.NodeName = &pod.Spec.NodeName
	}
	if util.ShouldSetHostname(pod, service) {
		address.Hostname = pod.Spec.Hostname
	}
	return address, true
}

func addressIn(service *v1.Service, status v1.PodStatus) (string, bool) {
	want, known := family(service)
	if !known {
		return status.PodIP, status.PodIP != ""
	}
	for _, ip := range status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Unmap().Is6() == (want == v1.IPv6Protocol) {
			return ip.IP, true
		}
	}
	return "", false
}

// family of a service's Endpoints object, which holds only the first one.
func family(service *v1.Service) (v1.IPFamily, bool) {
	if len(service.Spec.IPFamilies) > 0 {
		return service.Spec.IPFamilies[0], true
	}
	a, err := netip.ParseAddr(service.Spec.ClusterIP)
	if err != nil {
		return "", false
	}
	if a.Is6() {
		return v1.IPv6Protocol, true
	}
	return v1.IPv4Protocol, true
}

func portsOf(service *v1.Service, pod *v1.Pod) []v1.EndpointPort {
	var ports []v1.EndpointPort
	for i := range service.Spec.Ports {
		p := &service.Spec.Ports[i]
		number, err := library.FindPort(pod, p)
		if err != nil {
			continue // this pod has no port of that name
		}
		ports = append(ports, v1.EndpointPort{Name: p.Name, Port: int32(number), Protocol: p.Protocol, AppProtocol: p.AppProtocol})
	}
	slices.SortFunc(ports, func(a, b v1.EndpointPort) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), strings.Compare(string(a.Protocol), string(b.Protocol)))
	})
	return ports
}

func portsID(ports []v1.EndpointPort) string {
	var id strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&id, "%s/%05d/%s,", p.Name, p.Port, p.Protocol)
	}
	return id.String()
}

// desired is the object that a service should have, made from the one it has.
func desired(service *v1.Service, have *v1.Endpoints, subsets []v1.EndpointSubset) *v1.Endpoints {
	want := have.DeepCopy()
	want.Name, want.Namespace = service.Name, service.Namespace
	want.Labels = maps.Clone(service.Labels)
	if want.Labels == nil {
		want.Labels = map[string]string{}
	}
	want.Labels[managedBy] = name
	delete(want.Labels, v1.IsHeadlessService)
	if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == v1.ClusterIPNone {
		want.Labels[v1.IsHeadlessService] = ""
	}
	delete(want.Annotations, v1.EndpointsOverCapacity)
	var over bool
	if want.Subsets, over = truncate(subsets); over {
		if want.Annotations == nil {
			want.Annotations = map[string]string{}
		}
		want.Annotations[v1.EndpointsOverCapacity] = truncated
	}
	return want
}

// same says that nothing is to be written.
func same(have, want *v1.Endpoints) bool {
	return equality.Semantic.DeepEqual(have.Subsets, want.Subsets) && maps.Equal(have.Labels, want.Labels) &&
		have.Annotations[v1.EndpointsOverCapacity] == want.Annotations[v1.EndpointsOverCapacity]
}

// truncate keeps as many addresses as an object may hold: ready ones first, and
// of each subset in proportion.
func truncate(subsets []v1.EndpointSubset) ([]v1.EndpointSubset, bool) {
	ready, notReady := 0, 0
	for _, s := range subsets {
		ready += len(s.Addresses)
		notReady += len(s.NotReadyAddresses)
	}
	if ready+notReady <= maxCapacity {
		return subsets, false
	}
	readyRoom := min(ready, maxCapacity)
	notReadyRoom := maxCapacity - readyRoom
	kept := make([]v1.EndpointSubset, 0, len(subsets))
	takenReady, takenNotReady := 0, 0
	for _, s := range subsets {
		n := min(share(len(s.Addresses), ready, min(ready, maxCapacity)), readyRoom-takenReady)
		m := min(share(len(s.NotReadyAddresses), notReady, maxCapacity-min(ready, maxCapacity)), notReadyRoom-takenNotReady)
		s.Addresses, s.NotReadyAddresses = s.Addresses[:n], s.NotReadyAddresses[:m]
		takenReady, takenNotReady = takenReady+n, takenNotReady+m
		kept = append(kept, s)
	}
	return kept, true
}

// share of a part in room, rounded up.
func share(part, whole, room int) int {
	if whole == 0 {
		return 0
	}
	return min(part, (part*room+whole-1)/whole)
}
