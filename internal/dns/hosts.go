package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// host is what a service's name leads to: its cluster address, or an endpoint.
type host struct {
	name  string // its own
	addrs []netip.Addr
	ports []hostPort
}

type hostPort struct {
	name, proto string // proto in lower case
	number      uint16
}

// hosts that n names.
func (z *Zone) hosts(n name, s *v1.Service) []host {
	var all []host
	if n.kind == endpointName || s.Spec.ClusterIP == v1.ClusterIPNone {
		found := z.Catalog.Slices(s.Namespace, s.Name)
		slices.SortFunc(found, func(a, b *discovery.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
		for _, slice := range found {
			all = merge(all, z.endpointHosts(s, slice))
		}
	} else {
		all = z.serviceHost(s)
	}
	switch n.kind {
	case endpointName:
		return slices.DeleteFunc(all, func(h host) bool { return !strings.HasPrefix(strings.ToLower(h.name), n.endpoint+".") })
	case portName:
		for i := range all {
			all[i].ports = slices.DeleteFunc(slices.Clone(all[i].ports), func(p hostPort) bool { return p.name != n.port || p.proto != n.proto })
		}
		return slices.DeleteFunc(all, func(h host) bool { return len(h.ports) == 0 })
	}
	return all
}

func (z *Zone) serviceHost(s *v1.Service) []host {
	h := host{name: z.fqdn(s.Name, s.Namespace)}
	for _, ip := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(ip); err == nil {
			h.addrs = append(h.addrs, a)
		}
	}
	if len(h.addrs) == 0 {
		return nil
	}
	for _, p := range s.Spec.Ports {
		h.ports = append(h.ports, hostPort{p.Name, protoOf(p.Protocol), uint16(p.Port)})
	}
	return []host{h}
}

// endpointHosts are the ready endpoints of a slice. One without a hostname is
// named by its address.
func (z *Zone) endpointHosts(s *v1.Service, slice *discovery.EndpointSlice) (hosts []host) {
	var ports []hostPort
	for _, p := range slice.Ports {
		if p.Port != nil {
			ports = append(ports, hostPort{deref(p.Name, ""), protoOf(deref(p.Protocol, v1.ProtocolTCP)), uint16(*p.Port)})
		}
	}
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		if !deref(e.Conditions.Ready, true) {
			continue
		}
		for _, text := range e.Addresses {
			a, err := netip.ParseAddr(text)
			if err != nil {
				continue // a slice of domain names
			}
			label := deref(e.Hostname, dash(a))
			hosts = append(hosts, host{name: label + "." + z.fqdn(s.Name, s.Namespace), addrs: []netip.Addr{a}, ports: ports})
		}
	}
	return hosts
}

// merge adds hosts to those there are; one of both families, or with its ports
// in several slices, is one host.
func merge(to, from []host) []host {
	at := make(map[string]int, len(to)+len(from))
	for i := range to {
		at[to[i].name] = i
	}
	for _, h := range from {
		i, have := at[h.name]
		if !have {
			at[h.name] = len(to)
			to = append(to, h)
			continue
		}
		to[i].addrs = addMissing(to[i].addrs, h.addrs)
		to[i].ports = addMissing(to[i].ports, h.ports)
	}
	return to
}

func addMissing[T comparable](to, from []T) []T {
	to = slices.Clip(to)
	for _, v := range from {
		if !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

// addresses answers a question for A or AAAA.
func (z *Zone) addresses(q dns.Question, addrs []netip.Addr) (a Answer) {
	for _, addr := range addrs {
		if rr := z.address(q.Name, addr); rr.Header().Rrtype == q.Qtype {
			a.Records = append(a.Records, rr)
		}
	}
	return a
}

func (z *Zone) address(name string, a netip.Addr) dns.RR {
	if a = a.Unmap(); a.Is4() {
		return &dns.A{Hdr: z.header(name, dns.TypeA), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: z.header(name, dns.TypeAAAA), AAAA: a.AsSlice()}
}

func (z *Zone) hostRecords(name string, addrs []netip.Addr) (records []dns.RR) {
	for _, a := range addrs {
		records = append(records, z.address(name, a))
	}
	return records
}

// ports answers a question for SRV: all weigh the same, and together about 100.
func (z *Zone) ports(q dns.Question, hosts []host) (a Answer) {
	n := 0
	for _, h := range hosts {
		n += len(h.ports)
	}
	for _, h := range hosts {
		for _, p := range h.ports {
			a.Records = append(a.Records, &dns.SRV{
				Hdr: z.header(q.Name, dns.TypeSRV), Weight: uint16(max(1, 100/n)), Port: p.number, Target: h.name,
			})
		}
		if len(h.ports) > 0 {
			a.Extra = append(a.Extra, z.hostRecords(h.name, h.addrs)...)
		}
	}
	return a
}

func serviceOf(s *discovery.EndpointSlice) string { return s.Labels[discovery.LabelServiceName] }

func protoOf(p v1.Protocol) string { return strings.ToLower(string(p)) }

func deref[T any](p *T, unset T) T {
	if p == nil {
		return unset
	}
	return *p
}
