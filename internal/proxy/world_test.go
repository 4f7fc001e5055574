package proxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/proa-project/proa/internal/kit/netnstest"
)

// world is a node with pods and a neighbour, each a network namespace of its
// own: nothing leaves them, and the machine's own tables stay as they are.
//
//	outside 192.0.2.100 ── 192.0.2.1 node ── pods 10.42.0.2, 10.42.0.3 (fd00:42::2, …)
type world struct {
	*testing.T
	node, outside string
	pods          []string
}

func newWorld(t *testing.T, pods int) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	w := &world{T: t}
	w.node = netnstest.New(w, "node")
	w.outside = netnstest.New(w, "outside")
	w.connect(w.outside, "out0", "192.0.2.1/24", "192.0.2.100/24", "", "")
	for i := range pods {
		pod := netnstest.New(w, fmt.Sprint("pod", i))
		w.pods = append(w.pods, pod)
		w.connect(pod, fmt.Sprint("pod", i), "10.42.0.1/32", podAddr(i)+"/32", "fd00:42::1/128", podAddr6(i)+"/128")
	}
	w.within(w.node, func() error {
		for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/route_localnet"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
				return err
			}
		}
		// A range with no neighbours behind it: what is not translated ends there.
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "services", Flags: net.FlagUp}}); err != nil {
			return err
		}
		return route("services", "10.43.0.0/16", "10.42.0.1", "fd00:43::/112", "fd00:42::1")
	})
	return w
}

func podAddr(i int) string  { return fmt.Sprintf("10.42.0.%d", i+2) }
func podAddr6(i int) string { return fmt.Sprintf("fd00:42::%d", i+2) }

func route(link string, pairs ...string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for i := 0; i < len(pairs); i += 2 {
		_, dst, err := net.ParseCIDR(pairs[i])
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Src: net.ParseIP(pairs[i+1]), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("route %s: %w", pairs[i], err)
		}
	}
	return nil
}

func up(name string, cidrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, c := range cidrs {
		if c == "" {
			continue
		}
		a, err := netlink.ParseAddr(c)
		if err != nil {
			return err
		}
		a.Flags = 2 // IFA_F_NODAD: nobody else has the address
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("%s on %s: %w", c, name, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// connect a namespace to the node by a link, with routes both ways.
func (w *world) connect(to, link, here, there, here6, there6 string) {
	w.Helper()
	w.within(w.node, func() error {
		ns, err := netns.GetFromPath(to)
		if err != nil {
			return err
		}
		defer ns.Close()
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: link}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return up(link, here, here6)
	})
	w.within(to, func() error {
		if err := up("eth0", there, there6); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		for _, gateway := range []string{here, here6} {
			if gateway == "" {
				continue
			}
			ip, _, err := net.ParseCIDR(gateway)
			if err != nil {
				return err
			}
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: ip, Flags: int(netlink.FLAG_ONLINK)}); err != nil {
				return fmt.Errorf("default route by %s: %w", gateway, err)
			}
		}
		return nil
	})
	w.within(w.node, func() error {
		for _, addr := range []string{there, there6} {
			if ip, err := netip.ParsePrefix(addr); err == nil && ip.IsSingleIP() {
				l, err := netlink.LinkByName(link)
				if err != nil {
					return err
				}
				dst := &net.IPNet{IP: ip.Addr().AsSlice(), Mask: net.CIDRMask(ip.Bits(), ip.Bits())}
				if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
					return fmt.Errorf("route to %s: %w", addr, err)
				}
			}
		}
		return nil
	})
}

// within runs do in a namespace.
func (w *world) within(path string, do func() error) {
	w.Helper()
	if err := netnstest.Inside(path, do); err != nil {
		w.Fatal(err)
	}
}

// serve answers each client, on TCP and UDP, with the server's name and the
// client's address.
func (w *world) serve(path, name, addr string) {
	w.Helper()
	answer := func(from net.Addr) string {
		host, _, _ := net.SplitHostPort(from.String())
		return name + " " + host
	}
	w.within(path, func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		w.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, answer(c.RemoteAddr()))
				c.Close()
			}
		}()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		w.Cleanup(func() { u.Close() })
		go func() {
			buf := make([]byte, 64)
			for {
				_, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = u.WriteTo([]byte(answer(from)), from)
			}
		}()
		return nil
	})
}

// ask gives the server's name and the address by which it sees us.
func (w *world) ask(from, addr string) (server, seen string, err error) {
	err = netnstest.Inside(from, func() error {
		c, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
		if err != nil {
			return err
		}
		defer c.Close()
		data, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(data), &server, &seen)
		return err
	})
	return server, seen, err
}
