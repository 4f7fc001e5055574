package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const podLink = "eth0"

// Interface names hold 15 bytes.
func anchorName(clusterID string) string { return "proa" + clusterID }

// linkPrefix begins the names of a cluster's pod links.
func linkPrefix(clusterID string) string { return "p" + clusterID[:5] + "_" }

func linkName(clusterID, sandboxID string) string {
	h := fnv.New32a()
	h.Write([]byte(sandboxID))
	return fmt.Sprintf("%s%08x", linkPrefix(clusterID), h.Sum32())
}

// anchorUp makes the anchor with the node's address and the routes of the
// cluster. The routes lead to a link with no neighbours: a packet to an address
// that no pod has ends there.
func anchorUp(c Config) error {
	name := anchorName(c.ClusterID)
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("make link %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	addr := &netlink.Addr{IPNet: host(nodeAddr(c.PodCIDR))}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, addr.IPNet, err)
	}
	for _, r := range []netip.Prefix{c.ClusterCIDR, c.ServiceCIDR} {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet(r), Scope: netlink.SCOPE_LINK, Src: nodeAddr(c.PodCIDR).AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s to %s: %w", r, name, err)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// connect makes the veth, with one end in the namespace, and tells both sides
// how to reach the other.
func connect(a attachment, path string, gateway netip.Addr) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer ns.Close()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: a.Link, Flags: net.FlagUp},
		PeerName:      podLink,
		PeerNamespace: netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link %s: %w", a.Link, err)
	}
	hostEnd, err := netlink.LinkByName(a.Link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", a.Link, err)
	}
	if err := configurePodEnd(ns, a, gateway, hostEnd.Attrs().HardwareAddr); err != nil {
		return err
	}
	return configureHostEnd(hostEnd, a, gateway)
}

// configurePodEnd sets the address and a default route by way of the node. The
// node's hardware address is written down, so no packet waits for ARP.
func configurePodEnd(ns netns.NsHandle, a attachment, gateway netip.Addr, gatewayMAC net.HardwareAddr) error {
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(podLink)
	if err != nil {
		return fmt.Errorf("find %s in the pod: %w", podLink, err)
	}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: host(a.Addr)}); err != nil {
		return fmt.Errorf("give the pod the address %s: %w", a.Addr, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up in the pod: %w", podLink, err)
	}
	index := link.Attrs().Index
	for _, r := range []*netlink.Route{
		{LinkIndex: index, Dst: host(gateway), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Gw: gateway.AsSlice(), Src: a.Addr.AsSlice()},
	} {
		if err := h.RouteAdd(r); err != nil {
			return fmt.Errorf("add route %s in the pod: %w", r, err)
		}
	}
	err = h.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: gateway.AsSlice(), HardwareAddr: gatewayMAC})
	if err != nil {
		return fmt.Errorf("write down the node's hardware address in the pod: %w", err)
	}
	return nil
}

func configureHostEnd(link netlink.Link, a attachment, gateway netip.Addr) error {
	// A client on 127.0.0.1 of a host port or node port is sent to the pod with its
	// source rewritten; the kernel calls the answers martian unless told otherwise.
	// The rules drop packets to 127/8 that did not come by way of that translation.
	path := "/proc/sys/net/ipv4/conf/" + a.Link + "/route_localnet"
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		return fmt.Errorf("let %s carry loopback clients: %w", a.Link, err)
	}
	route := podRoute(a)
	route.LinkIndex = link.Attrs().Index
	route.Src = gateway.AsSlice()
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s to %s: %w", a.Addr, a.Link, err)
	}
	return nil
}

func podRoute(a attachment) *netlink.Route {
	return &netlink.Route{Dst: host(a.Addr), Scope: netlink.SCOPE_LINK}
}

func dropRoute(a attachment) error {
	err := netlink.RouteDel(podRoute(a))
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
