package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/proa-project/proa/internal/kit/netnstest"
)

// machine is a node of its own: a network namespace with one link to the test's
// other machine.
type machine struct {
	path    string
	network *Network
	tunnel  *Tunnel
	peer    Peer
}

// machines are two of them, on a link whose MTU is given.
func machines(t *testing.T, mtu int) (a, b *machine) {
	t.Helper()
	a, b = &machine{path: netnstest.New(t, "machine-a")}, &machine{path: netnstest.New(t, "machine-b")}
	join(t, a.path, b.path, mtu)
	base := testConfig(t)
	for i, m := range []*machine{a, b} {
		c := base
		c.ClusterID = []string{"aaaa", "bbbb"}[i] + base.ClusterID[4:]
		c.StateDir += m.path[len(m.path)-1:]
		c.PodCIDR = netip.PrefixFrom(base.ClusterCIDR.Addr(), 24)
		if i == 1 {
			shifted := base.ClusterCIDR.Addr().As4()
			shifted[2] = 1
			c.PodCIDR = netip.PrefixFrom(netip.AddrFrom4(shifted), 24)
		}
		m.peer = Peer{Pods: c.PodCIDR, Machine: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		within(t, m.path, func() (err error) {
			m.network, err = New(c)
			m.tunnel = NewTunnel(c.ClusterID, 77, c.PodCIDR)
			return err
		})
	}
	return a, b
}

// join two namespaces by a link, as 192.0.2.1 and 192.0.2.2.
func join(t *testing.T, a, b string, mtu int) {
	t.Helper()
	within(t, a, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire", MTU: mtu}, PeerName: "far"})
	})
	within(t, a, func() error {
		far, err := netlink.LinkByName("far")
		if err != nil {
			return err
		}
		return moveTo(far, b)
	})
	for i, end := range []struct{ path, name string }{{a, "wire"}, {b, "far"}} {
		within(t, end.path, func() error {
			link, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr([]string{"192.0.2.1/24", "192.0.2.2/24"}[i])
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMTU(link, mtu); err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		})
	}
}

func (m *machine) sync(t *testing.T, peers ...Peer) {
	t.Helper()
	within(t, m.path, func() error { return m.tunnel.Sync(peers) })
}

// pod of the machine; it answers on port 80 with the client's address.
func (m *machine) pod(t *testing.T, name string) (ns string, addr netip.Addr) {
	t.Helper()
	ns = netnstest.New(t, name)
	within(t, m.path, func() (err error) {
		addr, err = m.network.Attach(t.Context(), name, ns, nil)
		return err
	})
	greeter(t, ns, ":80")
	return ns, addr
}

func TestN3_PodsReachEachOtherAcrossNodes(t *testing.T) {
	a, b := machines(t, 1400)
	a.sync(t, b.peer)
	b.sync(t, a.peer)
	nsA, podA := a.pod(t, "pod-a")
	nsB, podB := b.pod(t, "pod-b")
	for _, c := range []struct {
		from   string
		to     netip.Addr
		source netip.Addr
	}{{nsA, podB, podA}, {nsB, podA, podB}, {a.path, podB, nodeAddr(a.peer.Pods)}} {
		if got := greetFrom(t, c.from, c.to.String()+":80"); got != c.source.String() {
			t.Errorf("%s is seen as %s, want %s", c.from, got, c.source)
		}
	}
	within(t, a.path, func() error {
		link, err := netlink.LinkByName(a.tunnel.name)
		if err == nil && link.Attrs().MTU != 1350 {
			t.Errorf("the tunnel's MTU is %d over a link of 1400", link.Attrs().MTU)
		}
		return err
	})
}

// Nodes come, move and go: what the kernel has is what was said last.
func TestTunnelFollowsItsPeers(t *testing.T) {
	a, b := machines(t, 1500)
	other := b.peer
	other.Machine = netip.MustParseAddr("192.0.2.9")
	third := Peer{Pods: netip.MustParsePrefix("10.255.7.0/24"), Machine: netip.MustParseAddr("192.0.2.3")}
	entries := func() (routes, forwarding []string) {
		within(t, a.path, func() error {
			link, err := netlink.LinkByName(a.tunnel.name)
			if err != nil {
				return err
			}
			list, err := netlink.RouteList(link, netlink.FAMILY_V4)
			for _, r := range list {
				routes = append(routes, r.Dst.String())
			}
			fdb, _ := netlink.NeighList(link.Attrs().Index, 7) // AF_BRIDGE
			for _, e := range fdb {
				forwarding = append(forwarding, e.IP.String())
			}
			return err
		})
		return routes, forwarding
	}
	a.sync(t, other, third)
	a.sync(t, b.peer)
	routes, forwarding := entries()
	if strings.Join(routes, " ") != b.peer.Pods.String() || strings.Join(forwarding, " ") != "192.0.2.2" {
		t.Errorf("routes %v, forwarding %v", routes, forwarding)
	}
	again := NewTunnel(strings.TrimPrefix(a.tunnel.name, "proax"), 77, a.peer.Pods) // after a restart
	within(t, a.path, func() error { return again.Sync([]Peer{third}) })
	if routes, forwarding = entries(); strings.Join(routes, " ") != third.Pods.String() || strings.Join(forwarding, " ") != "192.0.2.3" {
		t.Errorf("after a restart: routes %v, forwarding %v", routes, forwarding)
	}
	within(t, a.path, func() error {
		if err := again.Sync(nil); err != nil {
			return err
		}
		if linkExists(again.name) {
			t.Error("a tunnel to nobody")
		}
		return nil
	})
}

func moveTo(link netlink.Link, path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return netlink.LinkSetNsFd(link, int(ns))
}
