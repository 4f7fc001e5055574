package proxy

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"sort"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// Frontend is where clients go. An invalid address is every address of the node.
type Frontend struct {
	Addr     netip.Addr
	Protocol v1.Protocol
	Port     uint16
}

// Chain is where a frontend's packets are sent on to.
type Chain struct {
	Name      string // by contents, see the package's comment
	Endpoints []netip.AddrPort
	Affinity  time.Duration // how long a client stays with its endpoint; 0 = not at all
}

// Ruleset is all that a node's table says.
type Ruleset struct {
	Chains    map[string]Chain
	Frontends map[Frontend]string // name of the chain
	Refused   map[Frontend]bool   // services that have no endpoint now
}

// Compile says what the table must be for these services on the named node.
func Compile(services []*v1.Service, slices []*discovery.EndpointSlice, node string) Ruleset {
	byService := map[string][]*discovery.EndpointSlice{}
	for _, s := range slices {
		if s.AddressType == discovery.AddressTypeIPv4 {
			key := s.Namespace + "/" + s.Labels[discovery.LabelServiceName]
			byService[key] = append(byService[key], s)
		}
	}
	r := Ruleset{Chains: map[string]Chain{}, Frontends: map[Frontend]string{}, Refused: map[Frontend]bool{}}
	for _, s := range services {
		if hasAddress(s) {
			r.add(s, byService[s.Namespace+"/"+s.Name], node)
		}
	}
	return r
}

func hasAddress(s *v1.Service) bool {
	return s.Spec.Type != v1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone
}

func (r *Ruleset) add(s *v1.Service, slices []*discovery.EndpointSlice, node string) {
	localInside := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == v1.ServiceInternalTrafficPolicyLocal
	localOutside := s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		inside := r.chain(s, p, endpoints(slices, p, node, localInside))
		outside := inside
		if localOutside != localInside {
			outside = r.chain(s, p, endpoints(slices, p, node, localOutside))
		}
		for _, ip := range s.Spec.ClusterIPs {
			r.route(ip, p, inside)
		}
		for _, ip := range outsideAddrs(s) {
			r.route(ip, p, outside)
		}
		if p.NodePort != 0 {
			if f := (Frontend{Protocol: p.Protocol, Port: uint16(p.NodePort)}); outside != "" {
				r.Frontends[f] = outside
			}
		}
	}
}

func outsideAddrs(s *v1.Service) []string {
	addrs := append([]string{}, s.Spec.ExternalIPs...)
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IP != "" && (in.IPMode == nil || *in.IPMode == v1.LoadBalancerIPModeVIP) {
			addrs = append(addrs, in.IP)
		}
	}
	return addrs
}

func (r *Ruleset) route(ip string, p *v1.ServicePort, chain string) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is4() {
		return
	}
	f := Frontend{Addr: addr, Protocol: p.Protocol, Port: uint16(p.Port)}
	if chain == "" {
		r.Refused[f] = true
		return
	}
	r.Frontends[f] = chain
}

// chain for these endpoints; "" if there are none.
func (r *Ruleset) chain(s *v1.Service, p *v1.ServicePort, to []netip.AddrPort) string {
	if len(to) == 0 {
		return ""
	}
	c := Chain{Endpoints: to}
	h := fnv.New64a()
	fmt.Fprint(h, p.Protocol, to)
	if s.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		c.Affinity = time.Duration(v1.DefaultClientIPServiceAffinitySeconds) * time.Second
		if a := s.Spec.SessionAffinityConfig; a != nil && a.ClientIP != nil && a.ClientIP.TimeoutSeconds != nil {
			c.Affinity = time.Duration(*a.ClientIP.TimeoutSeconds) * time.Second
		}
		fmt.Fprint(h, s.UID, p.Port, c.Affinity) // clients are remembered for each service apart
	}
	c.Name = fmt.Sprintf("to-%016x", h.Sum64())
	r.Chains[c.Name] = c
	return c.Name
}

// endpoints of a port: the ready ones, or, when there is none, those that still
// serve while they end.
func endpoints(slices []*discovery.EndpointSlice, p *v1.ServicePort, node string, local bool) []netip.AddrPort {
	var ready, ending []netip.AddrPort
	for _, s := range slices {
		port, ok := portOf(s, p)
		if !ok {
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if local && (e.NodeName == nil || *e.NodeName != node) {
				continue
			}
			for _, a := range e.Addresses {
				addr, err := netip.ParseAddr(a)
				if err != nil {
					continue
				}
				switch {
				case isTrue(e.Conditions.Ready, true):
					ready = append(ready, netip.AddrPortFrom(addr, port))
				case isTrue(e.Conditions.Serving, false) && isTrue(e.Conditions.Terminating, false):
					ending = append(ending, netip.AddrPortFrom(addr, port))
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = ending
	}
	sort.Slice(ready, func(i, j int) bool { return ready[i].Compare(ready[j]) < 0 })
	return unique(ready)
}

func portOf(s *discovery.EndpointSlice, p *v1.ServicePort) (uint16, bool) {
	for _, ep := range s.Ports {
		name := ""
		if ep.Name != nil {
			name = *ep.Name
		}
		protocol := v1.ProtocolTCP
		if ep.Protocol != nil {
			protocol = *ep.Protocol
		}
		if name == p.Name && protocol == p.Protocol && ep.Port != nil {
			return uint16(*ep.Port), true
		}
	}
	return 0, false
}

func unique(sorted []netip.AddrPort) []netip.AddrPort {
	out := sorted[:0]
	for i, a := range sorted {
		if i == 0 || a != sorted[i-1] {
			out = append(out, a)
		}
	}
	return out
}

func isTrue(b *bool, unset bool) bool {
	if b == nil {
		return unset
	}
	return *b
}
