package proxy

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// Place of a frontend.
type Place string

const (
	// AtAddress: packets to one address, wherever it is.
	AtAddress Place = ""
	// AtNode: a node port, on every address of this node.
	AtNode Place = "node"
	// AtLoadBalancer: a load balancer's port on this node's addresses, but for
	// loopback, whose ports belong to the node's own programs.
	AtLoadBalancer Place = "balancer"
)

// Frontend is where clients go. Away from AtAddress, Addr is the unspecified
// address of the family.
type Frontend struct {
	Place    Place
	Addr     netip.Addr
	Protocol v1.Protocol
	Port     uint16
}

// Front is what becomes of packets for a Frontend.
type Front struct {
	Pool string // of endpoints, by its chain's name; "" = none
	// Inside is where pods of the cluster and this node's own programs go
	// instead: they have been outside and come back, where Pool is only for
	// endpoints on this node. "" = the same.
	Inside     string
	Masquerade bool   // the endpoint may be on another node, and must answer by way of this one
	Missed     Missed // packets that are sent nowhere
	Allow      string // source ranges, between commas; "" = everybody
}

// Missed says what becomes of packets that no endpoint gets.
type Missed string

const (
	Pass   Missed = "" // all packets get somewhere
	Refuse Missed = "refuse"
	Drop   Missed = "drop"
)

// Pool is endpoints to choose from.
type Pool struct {
	Name      string // by contents, see the package's comment
	Endpoints []netip.AddrPort
	// Clients is the name of the memory of which client has which endpoint, and
	// Affinity how long a client that is silent is remembered; "" = by chance.
	Clients  string
	Affinity time.Duration
}

// Rules is what the tables say of one service.
type Rules struct {
	Pools  map[string]Pool
	Fronts map[Frontend]Front
	Own    []netip.Addr // cluster addresses
	Local  []netip.Addr // endpoints on this node: one may call itself
	Health *Health      // for load balancers outside that ask where endpoints are
}

// Health of a service on this node.
type Health struct {
	Port      uint16
	Namespace string
	Name      string
	Local     int // ready endpoints
}

// Node is what a proxy's own node is to services.
type Node struct {
	Name  string
	Zone  string
	Addrs []netip.Addr // the node's, by which load balancers are reached
	// Taken ports are listened on by programs of the node: a load balancer does
	// not take them away.
	Taken map[ProtocolPort]bool
}

// describe this node by its object.
func describe(n *v1.Node) Node {
	d := Node{Name: n.Name, Zone: n.Labels[v1.LabelTopologyZone]}
	for _, a := range n.Status.Addresses {
		if a.Type != v1.NodeInternalIP && a.Type != v1.NodeExternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			d.Addrs = append(d.Addrs, addr)
		}
	}
	return d
}

func (n Node) equal(o Node) bool {
	return n.Name == o.Name && n.Zone == o.Zone && slices.Equal(n.Addrs, o.Addrs)
}

// ProtocolPort names a port of a machine.
type ProtocolPort struct {
	Protocol v1.Protocol
	Port     uint16
}

// Compile says what the table must be for a service on a node.
func Compile(s *v1.Service, all []*discovery.EndpointSlice, node Node) Rules {
	r := Rules{Pools: map[string]Pool{}, Fronts: map[Frontend]Front{}}
	if !hasAddress(s) {
		return r
	}
	for _, text := range s.Spec.ClusterIPs {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		r.Own = append(r.Own, addr)
		c := compiler{&r, s, addr, node, addressType(addr)}
		for i := range s.Spec.Ports {
			c.port(&s.Spec.Ports[i], all)
		}
	}
	slices.SortFunc(r.Local, netip.Addr.Compare)
	r.Local = slices.Compact(r.Local)
	r.Health = healthOf(s, all, node)
	return r
}

// of one family.
func (r Rules) of(f family) Rules {
	some := Rules{Pools: map[string]Pool{}, Fronts: map[Frontend]Front{}}
	for at, front := range r.Fronts {
		if f.has(at.Addr) {
			some.Fronts[at] = front
		}
	}
	for name, p := range r.Pools {
		if f.has(p.Endpoints[0].Addr()) {
			some.Pools[name] = p
		}
	}
	other := func(a netip.Addr) bool { return !f.has(a) }
	some.Own = slices.DeleteFunc(slices.Clone(r.Own), other)
	some.Local = slices.DeleteFunc(slices.Clone(r.Local), other)
	return some
}

func hasAddress(s *v1.Service) bool {
	return s.Spec.Type != v1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone
}

func addressType(a netip.Addr) discovery.AddressType {
	if a.Is4() {
		return discovery.AddressTypeIPv4
	}
	return discovery.AddressTypeIPv6
}

// compiler of one service in one family.
type compiler struct {
	*Rules
	service *v1.Service
	addr    netip.Addr // the cluster address
	node    Node
	family  discovery.AddressType
}

func (c *compiler) port(p *v1.ServicePort, all []*discovery.EndpointSlice) {
	found := endpointsOf(all, c.family, p)
	c.Local = append(c.Local, found.local(c.node.Name)...)
	cluster, local, any := c.pool(p, found.everywhere(c.node)), c.pool(p, found.onNode(c.node.Name)), found.any()

	inside := Front{Pool: cluster.Name}
	if p := c.service.Spec.InternalTrafficPolicy; p != nil && *p == v1.ServiceInternalTrafficPolicyLocal {
		inside.Pool = local.Name
	}
	outside := Front{Pool: cluster.Name, Masquerade: true}
	if c.service.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
		outside = Front{Pool: local.Name, Inside: cluster.Name}
	}
	fronts := map[Frontend]Front{c.at(AtAddress, c.addr, p, p.Port): missed(inside, any)}
	c.outside(fronts, p, missed(outside, any))
	for at, f := range fronts {
		c.Fronts[at] = f
		for _, pool := range []Pool{cluster, local} {
			if pool.Name != "" && (pool.Name == f.Pool || pool.Name == f.Inside) {
				c.Pools[pool.Name] = pool
			}
		}
	}
}

// missed completes a front: without any endpoint packets are refused; where
// there are some on other nodes only, they are not for this one to answer.
func missed(f Front, any bool) Front {
	switch {
	case !any:
		return Front{Missed: Refuse}
	case f.Pool == "":
		f.Missed = Drop
	}
	return f
}

// outside are the ways into the cluster.
func (c *compiler) outside(fronts map[Frontend]Front, p *v1.ServicePort, f Front) {
	for _, ip := range c.parse(c.service.Spec.ExternalIPs) {
		fronts[c.at(AtAddress, ip, p, p.Port)] = f
	}
	if p.NodePort != 0 {
		fronts[c.at(AtNode, c.unspecified(), p, p.NodePort)] = f
	}
	f.Allow = c.allowed()
	balancers := c.parse(balancerAddrs(c.service))
	for _, ip := range balancers {
		if !c.ours(ip) {
			fronts[c.at(AtAddress, ip, p, p.Port)] = f
		}
	}
	if slices.ContainsFunc(balancers, c.ours) && !c.node.Taken[ProtocolPort{p.Protocol, uint16(p.Port)}] {
		fronts[c.at(AtLoadBalancer, c.unspecified(), p, p.Port)] = f
	}
}

func (c *compiler) ours(a netip.Addr) bool { return slices.Contains(c.node.Addrs, a) }

func balancerAddrs(s *v1.Service) (addrs []string) {
	if s.Spec.Type != v1.ServiceTypeLoadBalancer {
		return nil
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IP != "" && (in.IPMode == nil || *in.IPMode == v1.LoadBalancerIPModeVIP) {
			addrs = append(addrs, in.IP)
		}
	}
	return addrs
}

// parse keeps the addresses of the family.
func (c *compiler) parse(texts []string) (addrs []netip.Addr) {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() == c.addr.Is4() {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// allowed sources of a load balancer, of the family; none at all, if ranges are
// given and all are of the other family.
func (c *compiler) allowed() string {
	if len(c.service.Spec.LoadBalancerSourceRanges) == 0 {
		return ""
	}
	var ranges []string
	for _, text := range c.service.Spec.LoadBalancerSourceRanges {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || p.Addr().Is4() != c.addr.Is4() {
			continue
		}
		if p.Bits() == 0 {
			return ""
		}
		ranges = append(ranges, p.Masked().String())
	}
	if len(ranges) == 0 {
		return netip.PrefixFrom(c.unspecified(), c.addr.BitLen()).String() // nobody's address
	}
	slices.Sort(ranges)
	return strings.Join(slices.Compact(ranges), ",")
}

func (c *compiler) unspecified() netip.Addr {
	if c.addr.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (c *compiler) at(place Place, addr netip.Addr, p *v1.ServicePort, number int32) Frontend {
	return Frontend{place, addr, p.Protocol, uint16(number)}
}

// pool of these endpoints; without a name if there are none.
func (c *compiler) pool(p *v1.ServicePort, to []netip.AddrPort) Pool {
	if len(to) == 0 {
		return Pool{}
	}
	pool := Pool{Endpoints: to}
	port := fmt.Sprintf("%s/%s %s %d %s", c.service.Namespace, c.service.Name, p.Protocol, p.Port, c.family)
	if c.service.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		// Of the service's port, not of the pool: a client stays with its endpoint
		// while others come and go.
		pool.Clients = "clients-" + hash(port, string(c.service.UID))
		pool.Affinity = affinityOf(c.service)
	}
	pool.Name = "pool-" + hash(port, to, pool.Clients, pool.Affinity)
	return pool
}

func affinityOf(s *v1.Service) time.Duration {
	seconds := v1.DefaultClientIPServiceAffinitySeconds
	if a := s.Spec.SessionAffinityConfig; a != nil && a.ClientIP != nil && a.ClientIP.TimeoutSeconds != nil {
		seconds = *a.ClientIP.TimeoutSeconds
	}
	return time.Duration(seconds) * time.Second
}

func hash(values ...any) string {
	h := fnv.New64a()
	fmt.Fprintln(h, values...)
	return fmt.Sprintf("%016x", h.Sum64())
}

func healthOf(s *v1.Service, all []*discovery.EndpointSlice, node Node) *Health {
	if s.Spec.HealthCheckNodePort == 0 || s.Spec.ExternalTrafficPolicy != v1.ServiceExternalTrafficPolicyLocal {
		return nil
	}
	return &Health{
		Port: uint16(s.Spec.HealthCheckNodePort), Namespace: s.Namespace, Name: s.Name,
		Local: readyOn(all, node.Name),
	}
}
