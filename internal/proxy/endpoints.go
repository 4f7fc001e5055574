package proxy

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// endpoint of one port.
type endpoint struct {
	at    netip.AddrPort
	node  string
	ready bool
	// ending: it still serves while it terminates.
	ending bool
	nodes  []string // hints: nodes and zones that it is meant for
	zones  []string
}

type endpoints []endpoint

// endpointsOf a service's port in one family.
func endpointsOf(all []*discovery.EndpointSlice, family discovery.AddressType, p *v1.ServicePort) (found endpoints) {
	for _, s := range all {
		port, ok := portOf(s, p)
		if !ok || s.AddressType != family {
			continue
		}
		for i := range s.Endpoints {
			found = append(found, read(&s.Endpoints[i], port)...)
		}
	}
	return found
}

func portOf(s *discovery.EndpointSlice, p *v1.ServicePort) (uint16, bool) {
	for _, ep := range s.Ports {
		if deref(ep.Name, "") == p.Name && deref(ep.Protocol, v1.ProtocolTCP) == p.Protocol && ep.Port != nil {
			return uint16(*ep.Port), true
		}
	}
	return 0, false
}

func read(e *discovery.Endpoint, port uint16) (found []endpoint) {
	for _, text := range e.Addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		one := endpoint{
			at: netip.AddrPortFrom(addr, port), node: deref(e.NodeName, ""), ready: deref(e.Conditions.Ready, true),
			ending: deref(e.Conditions.Serving, false) && deref(e.Conditions.Terminating, false),
		}
		if e.Hints != nil {
			for _, h := range e.Hints.ForNodes {
				one.nodes = append(one.nodes, h.Name)
			}
			for _, h := range e.Hints.ForZones {
				one.zones = append(one.zones, h.Name)
			}
		}
		found = append(found, one)
	}
	return found
}

// everywhere in the cluster, or near this node if all endpoints have hints.
// When there is none that is ready, those that are ending must do.
func (all endpoints) everywhere(n Node) []netip.AddrPort {
	ready := all.where(func(e endpoint) bool { return e.ready })
	if len(ready) == 0 {
		return all.where(func(e endpoint) bool { return e.ending }).addrs()
	}
	if near, ok := ready.meantFor(n.Name, func(e endpoint) []string { return e.nodes }); ok {
		return near.addrs()
	}
	if near, ok := ready.meantFor(n.Zone, func(e endpoint) []string { return e.zones }); ok {
		return near.addrs()
	}
	return ready.addrs()
}

// meantFor is true if every endpoint has a hint, and at least one of them is
// for us. Hints of some say nothing: they are about to come or go.
func (all endpoints) meantFor(us string, hints func(endpoint) []string) (near endpoints, ok bool) {
	for _, e := range all {
		if len(hints(e)) == 0 {
			return nil, false
		}
		if slices.Contains(hints(e), us) {
			near = append(near, e)
		}
	}
	return near, len(near) > 0
}

// onNode are those of one node, by the same rule about ending ones.
func (all endpoints) onNode(name string) []netip.AddrPort {
	here := all.where(func(e endpoint) bool { return e.node == name })
	if ready := here.where(func(e endpoint) bool { return e.ready }); len(ready) > 0 {
		return ready.addrs()
	}
	return here.where(func(e endpoint) bool { return e.ending }).addrs()
}

func (all endpoints) any() bool {
	return slices.ContainsFunc(all, func(e endpoint) bool { return e.ready || e.ending })
}

func (all endpoints) local(node string) (addrs []netip.Addr) {
	for _, e := range all {
		if e.node == node && (e.ready || e.ending) {
			addrs = append(addrs, e.at.Addr())
		}
	}
	return addrs
}

func (all endpoints) where(is func(endpoint) bool) (some endpoints) {
	for _, e := range all {
		if is(e) {
			some = append(some, e)
		}
	}
	return some
}

// addrs in order, each once.
func (all endpoints) addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(all))
	for i, e := range all {
		addrs[i] = e.at
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return slices.Compact(addrs)
}

// readyOn counts the ready endpoints on a node, whatever their ports.
func readyOn(all []*discovery.EndpointSlice, node string) int {
	seen := map[string]bool{}
	for _, s := range all {
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if deref(e.NodeName, "") != node || !deref(e.Conditions.Ready, true) {
				continue
			}
			for _, a := range e.Addresses {
				seen[a] = true
			}
		}
	}
	return len(seen)
}

func deref[T any](p *T, unset T) T {
	if p == nil {
		return unset
	}
	return *p
}
