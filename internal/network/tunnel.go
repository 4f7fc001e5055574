package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// tunnelPort is IANA's for VXLAN.
	tunnelPort = 4789
	// tunnelOverhead is what the outer Ethernet, IPv4, UDP and VXLAN headers take.
	tunnelOverhead = 50
	// smallestMTU that IPv6 allows; below it something else is wrong.
	smallestMTU = 1280
)

// Peer is another node: its pods, and the machine's address that their packets
// are sent to.
type Peer struct {
	Pods    netip.Prefix
	Machine netip.Addr
}

// Tunnel carries packets to other nodes' pods, over whatever network lies between
// the machines: VXLAN with one entry a node, nothing learned, nothing flooded
// (docs/adr/0006-second-nodes.md). Without peers there is no link.
type Tunnel struct {
	name string
	vni  uint32
	own  netip.Addr // this node's, of its pod range

	mu   sync.Mutex
	last []Peer // as the kernel has them
}

// NewTunnel makes nothing yet. The number tells clusters apart whose nodes share
// a network: 24 bits, the same on all nodes of one.
func NewTunnel(clusterID string, vni uint32, podCIDR netip.Prefix) *Tunnel {
	return &Tunnel{name: tunnelName(clusterID), vni: vni & (1<<24 - 1), own: nodeAddr(podCIDR)}
}

func tunnelName(clusterID string) string { return "proax" + clusterID }

// Sync makes ways to these nodes and to no others.
func (t *Tunnel) Sync(peers []Peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b Peer) int { return a.Pods.Addr().Compare(b.Pods.Addr()) })
	if slices.Equal(peers, t.last) && (len(peers) == 0 || linkExists(t.name)) {
		return nil
	}
	t.last = nil // whatever fails now is done again
	if len(peers) == 0 {
		return removeLink(t.name)
	}
	link, err := t.up(peers)
	if err != nil {
		return err
	}
	if err := errors.Join(t.forget(link, peers), t.add(link, peers)); err != nil {
		return err
	}
	t.last = peers
	return nil
}

// up makes the link, unless an earlier run has.
func (t *Tunnel) up(peers []Peer) (netlink.Link, error) {
	mtu := tunnelMTU(peers)
	link, err := netlink.LinkByName(t.name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		err = netlink.LinkAdd(&netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: t.name, MTU: mtu, HardwareAddr: hardwareAddr(t.own)},
			VxlanId:   int(t.vni), Port: tunnelPort, Learning: false,
		})
		if err == nil {
			link, err = netlink.LinkByName(t.name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make link %s to other nodes: %w", t.name, err)
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return nil, fmt.Errorf("set the MTU of %s to %d: %w", t.name, mtu, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set %s up: %w", t.name, err)
	}
	return link, nil
}

// tunnelMTU is what fits through to every peer.
func tunnelMTU(peers []Peer) int {
	mtu := 1500
	for _, p := range peers {
		routes, err := netlink.RouteGet(p.Machine.AsSlice())
		if err != nil || len(routes) == 0 {
			continue // not reachable now: packets tell the rest
		}
		if link, err := netlink.LinkByIndex(routes[0].LinkIndex); err == nil {
			mtu = min(mtu, link.Attrs().MTU)
		}
		if routes[0].MTU > 0 {
			mtu = min(mtu, routes[0].MTU)
		}
	}
	return max(mtu-tunnelOverhead, smallestMTU)
}

// hardwareAddr of a node's end follows from its address, so nobody needs to ask.
func hardwareAddr(node netip.Addr) net.HardwareAddr {
	a := node.As4()
	return net.HardwareAddr{0x02, 0x70, a[0], a[1], a[2], a[3]}
}

// Three entries lead to a peer: the route to its pods, by way of its node
// address; that address's hardware address; and where that one is sent to.

func (t *Tunnel) routeTo(link netlink.Link, p Peer) *netlink.Route {
	return &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipnet(p.Pods), Gw: nodeAddr(p.Pods).AsSlice(), Src: t.own.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	}
}

func neighbourOf(link netlink.Link, p Peer) *netlink.Neigh {
	node := nodeAddr(p.Pods)
	return &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: node.AsSlice(), HardwareAddr: hardwareAddr(node)}
}

func forwardingOf(link netlink.Link, p Peer) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
		IP: p.Machine.AsSlice(), HardwareAddr: hardwareAddr(nodeAddr(p.Pods)),
	}
}

func (t *Tunnel) add(link netlink.Link, peers []Peer) error {
	var failed []error
	for _, p := range peers {
		err := errors.Join(
			netlink.NeighSet(forwardingOf(link, p)),
			netlink.NeighSet(neighbourOf(link, p)),
			netlink.RouteReplace(t.routeTo(link, p)),
		)
		if err != nil {
			failed = append(failed, fmt.Errorf("way to the pods %s at %s: %w", p.Pods, p.Machine, err))
		}
	}
	return errors.Join(failed...)
}

// forget takes away what leads to nodes that are gone, or elsewhere by now.
func (t *Tunnel) forget(link netlink.Link, peers []Peer) error {
	var failed []error
	note := func(err error) {
		if err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.ENOENT) {
			failed = append(failed, fmt.Errorf("forget a way over %s: %w", t.name, err))
		}
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	note(err)
	for i := range routes {
		r := &routes[i]
		if !slices.ContainsFunc(peers, func(p Peer) bool { return r.Dst != nil && r.Dst.String() == ipnet(p.Pods).String() }) {
			note(netlink.RouteDel(r))
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, unix.AF_BRIDGE} {
		entries, err := netlink.NeighList(link.Attrs().Index, family)
		note(err)
		for i := range entries {
			e := &entries[i]
			if !slices.ContainsFunc(peers, func(p Peer) bool { return leadsTo(e, family, p) }) {
				note(netlink.NeighDel(e))
			}
		}
	}
	return errors.Join(failed...)
}

func leadsTo(e *netlink.Neigh, family int, p Peer) bool {
	at := p.Machine
	if family == netlink.FAMILY_V4 {
		at = nodeAddr(p.Pods)
	}
	ip, ok := netip.AddrFromSlice(e.IP)
	return ok && ip.Unmap() == at && e.HardwareAddr.String() == hardwareAddr(nodeAddr(p.Pods)).String()
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	return netlink.LinkDel(link)
}
