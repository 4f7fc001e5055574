package proxy

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// UDP has no connections of its own: a client that goes on sending would stay
// with an endpoint that is gone, or with the answer that there is none, for as
// long as the kernel remembers its flow.

// stale are the UDP frontends that changed, with the endpoints they have now.
type stale map[Frontend]map[netip.AddrPort]bool

// stale of what sync is about to change.
func (m *model) stale() stale {
	add, remove := m.fronts.changes()
	found := stale{}
	for _, fronts := range []map[Frontend]Front{remove, add} { // what is in both is as in add
		for at, f := range fronts {
			if at.Protocol == v1.ProtocolUDP {
				found[at] = m.endpointsOf(f)
			}
		}
	}
	for at := range remove {
		if _, still := add[at]; !still && at.Protocol == v1.ProtocolUDP {
			found[at] = nil
		}
	}
	return found
}

func (m *model) endpointsOf(f Front) map[netip.AddrPort]bool {
	all := map[netip.AddrPort]bool{}
	for _, name := range []string{f.Pool, f.Inside} {
		for _, e := range m.pools.want[name].Endpoints {
			all[e] = true
		}
	}
	return all
}

// forget makes the kernel forget their flows to other endpoints.
func (s stale) forget(f family) error {
	if len(s) == 0 {
		return nil
	}
	filter := flowFilter{stale: s, node: map[netip.Addr]bool{}, unspecified: netip.IPv4Unspecified()}
	number := netlink.InetFamily(unix.AF_INET)
	if f.size == 16 {
		number, filter.unspecified = unix.AF_INET6, netip.IPv6Unspecified()
	}
	addrs, err := netlink.AddrList(nil, int(number))
	if err != nil {
		return fmt.Errorf("list the node's addresses: %w", err)
	}
	for _, a := range addrs {
		if addr, ok := addrOf(a.IP); ok {
			filter.node[addr] = true
		}
	}
	if _, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, number, filter); err != nil {
		return fmt.Errorf("forget UDP flows: %w", err)
	}
	return nil
}

// flowFilter matches the entries to forget.
type flowFilter struct {
	stale       stale
	node        map[netip.Addr]bool
	unspecified netip.Addr
}

func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, ok := addrOf(flow.Forward.DstIP)
	if !ok {
		return false
	}
	at, has := Frontend{AtAddress, to, v1.ProtocolUDP, flow.Forward.DstPort}, false
	if _, has = f.stale[at]; !has && f.node[to] {
		at.Addr = f.unspecified
		for _, at.Place = range []Place{AtNode, AtLoadBalancer} {
			if _, has = f.stale[at]; has {
				break
			}
		}
	}
	if !has {
		return false
	}
	answers, ok := addrOf(flow.Reverse.SrcIP)
	return !ok || !f.stale[at][netip.AddrPortFrom(answers, flow.Reverse.SrcPort)]
}

func addrOf(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}
