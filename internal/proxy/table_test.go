package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var here = Node{Name: "here", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}

// node's tables in a world, and what is put into them.
type tables struct {
	*world
	all []*table
}

func (w *world) tables() *tables {
	pods := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd00:42::/64")}
	return &tables{w, []*table{newTable(ipv4, "test", pods), newTable(ipv6, "test", pods)}}
}

// put a service with its endpoints on port 80 into the tables.
func (t *tables) put(s *v1.Service, endpoints ...string) {
	t.Helper()
	rules := Compile(s, slicesFor(endpoints), here)
	t.within(t.node, func() error {
		var failed []error
		for _, one := range t.all {
			one.put(s.Name, s.Name, rules.of(one.family))
			flows := one.stale()
			failed = append(failed, one.sync(), flows.forget(one.family))
		}
		return errors.Join(failed...)
	})
}

func (t *tables) remove(name string) {
	t.Helper()
	t.put(&v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// slicesFor endpoints on this node, or on another if it is said after an @.
func slicesFor(endpoints []string) []*discovery.EndpointSlice {
	port, name := int32(80), ""
	byFamily := map[discovery.AddressType]*discovery.EndpointSlice{}
	for _, text := range endpoints {
		addr, node, _ := strings.Cut(text, "@")
		if node == "" {
			node = "here"
		}
		family := addressType(netip.MustParseAddr(addr))
		if byFamily[family] == nil {
			byFamily[family] = &discovery.EndpointSlice{AddressType: family}
			for _, proto := range []v1.Protocol{v1.ProtocolTCP, v1.ProtocolUDP} {
				byFamily[family].Ports = append(byFamily[family].Ports, discovery.EndpointPort{Name: &name, Port: &port, Protocol: &proto})
			}
		}
		byFamily[family].Endpoints = append(byFamily[family].Endpoints, discovery.Endpoint{Addresses: []string{addr}, NodeName: &node})
	}
	var all []*discovery.EndpointSlice
	for _, s := range byFamily {
		all = append(all, s)
	}
	return all
}

func service(name, ip string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: name, UID: "u"}}
	s.Spec.Type, s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ServiceTypeClusterIP, ip, []string{ip}
	s.Spec.Ports = []v1.ServicePort{{Protocol: v1.ProtocolTCP, Port: 80}}
	for _, f := range change {
		f(s)
	}
	return s
}

func nodePort(s *v1.Service)  { s.Spec.Ports[0].NodePort = 30080 }
func localOnly(s *v1.Service) { s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal }
func overUDP(s *v1.Service)   { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }
func sticky(s *v1.Service)    { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }

// seen counts which servers answer a client that asks n times.
func (t *tables) seen(n int, from, addr string) map[string]int {
	t.Helper()
	answers := map[string]int{}
	for range n {
		server, _, err := t.ask(from, addr)
		if err != nil {
			t.Fatal(err)
		}
		answers[server]++
	}
	return answers
}

func (t *tables) sees(from, addr, want string) {
	t.Helper()
	server, seen, err := t.ask(from, addr)
	if got := server + " sees " + seen; err != nil || got != want {
		t.Errorf("%s: %s, %v; want %s", addr, got, err, want)
	}
}

func (t *tables) refuses(from, addr string) {
	t.Helper()
	if _, _, err := t.ask(from, addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s: %v, want refused", addr, err)
	}
}

func (t *tables) drops(from, addr string) {
	t.Helper()
	_, _, err := t.ask(from, addr)
	if timeout := (net.Error)(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%s: %v, want no answer", addr, err)
	}
}

func TestClusterAddresses(t *testing.T) {
	w := newWorld(t, 3).tables()
	w.serve(w.pods[0], "a", ":80")
	w.serve(w.pods[1], "b", ":80")
	client := w.pods[2]
	w.put(service("s", "10.43.0.1"), podAddr(0), podAddr(1))
	for _, from := range []string{client, w.node} {
		if got := w.seen(40, from, "10.43.0.1:80"); len(got) != 2 {
			t.Errorf("40 connections went to %v, want both endpoints", got)
		}
	}
	w.put(service("s", "10.43.0.1"), podAddr(1))
	if got := w.seen(10, client, "10.43.0.1:80"); got["b"] != 10 {
		t.Errorf("after an endpoint left, connections went to %v", got)
	}
	w.sees(client, "10.43.0.1:80", "b sees "+podAddr(2))
	w.put(service("s6", "fd00:43::1"), podAddr6(0))
	w.sees(client, "[fd00:43::1]:80", "a sees "+podAddr6(2))
	for _, from := range []string{client, w.node, w.outside} {
		w.put(service("s", "10.43.0.1"))
		w.put(service("s6", "fd00:43::1"))
		w.refuses(from, "10.43.0.1:80")
		if from != w.outside {
			w.refuses(from, "[fd00:43::1]:80")
		}
	}
}

func TestFromOutsideByAClusterAddress(t *testing.T) {
	w := newWorld(t, 1).tables()
	w.serve(w.pods[0], "a", ":80")
	w.put(service("s", "10.43.0.1"), podAddr(0))
	w.sees(w.outside, "10.43.0.1:80", "a sees 10.42.0.1")
}

func TestAPodReachesItselfByItsService(t *testing.T) {
	w := newWorld(t, 1).tables()
	w.serve(w.pods[0], "a", ":80")
	w.put(service("s", "10.43.0.1"), podAddr(0))
	w.sees(w.pods[0], "10.43.0.1:80", "a sees 10.42.0.1")
}

func TestNodePorts(t *testing.T) {
	w := newWorld(t, 2).tables()
	w.serve(w.pods[0], "a", ":80")
	w.put(service("s", "10.43.0.1", nodePort), podAddr(0))
	w.sees(w.outside, "192.0.2.1:30080", "a sees 10.42.0.1")
	w.sees(w.pods[1], "192.0.2.1:30080", "a sees 10.42.0.1")
	w.sees(w.node, "127.0.0.1:30080", "a sees 10.42.0.1")

	w.put(service("s", "10.43.0.1", nodePort, localOnly), podAddr(0))
	w.sees(w.outside, "192.0.2.1:30080", "a sees 192.0.2.100") // the client's own

	w.put(service("s", "10.43.0.1", nodePort, localOnly), podAddr(0)+"@there")
	w.drops(w.outside, "192.0.2.1:30080")
	w.sees(w.pods[1], "192.0.2.1:30080", "a sees "+podAddr(1)) // pods go wherever an endpoint is
	w.sees(w.node, "192.0.2.1:30080", "a sees 10.42.0.1")

	w.put(service("s", "10.43.0.1", nodePort))
	w.refuses(w.outside, "192.0.2.1:30080")
	w.remove("s")
	w.refuses(w.outside, "192.0.2.1:30080")
}

func balancer(ranges ...string) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Type, s.Spec.LoadBalancerSourceRanges = v1.ServiceTypeLoadBalancer, ranges
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}, {IP: "198.51.100.9"}}
	}
}

func TestLoadBalancers(t *testing.T) {
	w := newWorld(t, 2).tables()
	w.serve(w.pods[0], "a", ":80")
	w.put(service("s", "10.43.0.1", balancer()), podAddr(0))
	for _, addr := range []string{"192.0.2.1:80", "198.51.100.9:80"} {
		w.sees(w.outside, addr, "a sees 10.42.0.1")
	}
	w.refuses(w.node, "127.0.0.1:80") // the node's own programs have loopback
	w.put(service("s", "10.43.0.1", balancer("192.0.2.100/32")), podAddr(0))
	w.sees(w.outside, "192.0.2.1:80", "a sees 10.42.0.1")
	w.put(service("s", "10.43.0.1", balancer("203.0.113.0/24")), podAddr(0))
	for _, addr := range []string{"192.0.2.1:80", "198.51.100.9:80"} {
		w.drops(w.outside, addr)
	}
	w.sees(w.pods[1], "10.43.0.1:80", "a sees "+podAddr(1))
}

func TestAClientStaysWithItsEndpoint(t *testing.T) {
	w := newWorld(t, 4).tables()
	for i, name := range []string{"a", "b", "c"} {
		w.serve(w.pods[i], name, ":80")
	}
	client := w.pods[3]
	w.put(service("s", "10.43.0.1", sticky), podAddr(0), podAddr(1))
	first, _, err := w.ask(client, "10.43.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.seen(100, client, "10.43.0.1:80"); got[first] != 100 { // at once: the kernel keeps what a rule deletes for a second
		t.Errorf("a client of %s was sent to %v", first, got)
	}
	w.put(service("s", "10.43.0.1", sticky), podAddr(0), podAddr(1), podAddr(2))
	if got := w.seen(20, client, "10.43.0.1:80"); got[first] != 20 {
		t.Errorf("when another endpoint came, a client of %s was sent to %v", first, got)
	}
	rest := map[string][]string{"a": {podAddr(1), podAddr(2)}, "b": {podAddr(0), podAddr(2)}}[first]
	w.put(service("s", "10.43.0.1", sticky), rest...)
	second, _, err := w.ask(client, "10.43.0.1:80")
	if err != nil || second == first {
		t.Fatalf("after %s left: %s, %v", first, second, err)
	}
	if got := w.seen(20, client, "10.43.0.1:80"); got[second] != 20 {
		t.Errorf("a client of %s was sent to %v", second, got)
	}
}

// A UDP client that goes on with one socket follows its service.
func TestUDPClientsAreNotLeftBehind(t *testing.T) {
	w := newWorld(t, 3).tables()
	w.serve(w.pods[0], "a", ":80")
	w.serve(w.pods[1], "b", ":80")
	for name, addr := range map[string]string{"cluster": "10.43.0.1:80", "node port": "192.0.2.1:30080"} {
		t.Run(name, func(t *testing.T) {
			w.put(service("s", "10.43.0.1", nodePort, overUDP))
			var c net.Conn
			w.within(w.pods[2], func() (err error) {
				c, err = net.Dial("udp", addr)
				return err
			})
			defer c.Close()
			if got := exchange(c); got != "refused" {
				t.Errorf("without endpoints: %q", got)
			}
			w.put(service("s", "10.43.0.1", nodePort, overUDP), podAddr(0))
			if got := exchange(c); got != "a" {
				t.Errorf("with its first endpoint: %q", got)
			}
			w.put(service("s", "10.43.0.1", nodePort, overUDP), podAddr(0), podAddr(1))
			if got := exchange(c); got != "a" {
				t.Errorf("with another endpoint: %q", got)
			}
			w.put(service("s", "10.43.0.1", nodePort, overUDP), podAddr(1))
			if got := exchange(c); got != "b" {
				t.Errorf("with the other endpoint: %q", got)
			}
		})
	}
}

func exchange(c net.Conn) (server string) {
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	_, err := c.Write([]byte("?"))
	buf := make([]byte, 64)
	if err == nil {
		_, err = c.Read(buf)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	server, _, _ = strings.Cut(string(buf), " ")
	return server
}

func TestTheFirstServiceHasTheAddress(t *testing.T) {
	w := newWorld(t, 2).tables()
	w.serve(w.pods[0], "a", ":80")
	w.serve(w.pods[1], "b", ":80")
	shared := func(s *v1.Service) { s.Spec.ExternalIPs = []string{"198.51.100.9"} }
	w.put(service("2", "10.43.0.2", shared), podAddr(1))
	w.put(service("1", "10.43.0.1", shared), podAddr(0))
	w.sees(w.outside, "198.51.100.9:80", "a sees 10.42.0.1")
	w.put(service("1", "10.43.0.1"), podAddr(0))
	w.sees(w.outside, "198.51.100.9:80", "b sees 10.42.0.1")
}

func TestATableThatSomebodyRemovedComesBack(t *testing.T) {
	w := newWorld(t, 1).tables()
	w.serve(w.pods[0], "a", ":80")
	w.put(service("s", "10.43.0.1"), podAddr(0))
	w.within(w.node, func() error { return exec.Command("nft", "flush", "ruleset").Run() })
	w.put(service("other", "10.43.0.2"), podAddr(0))
	for _, addr := range []string{"10.43.0.1:80", "10.43.0.2:80"} {
		w.sees(w.node, addr, "a sees 10.42.0.1")
	}
}

func TestNothingIsLeftOfServicesThatAreGone(t *testing.T) {
	w := newWorld(t, 1).tables()
	for i := range 3 {
		w.put(service(fmt.Sprint(i), fmt.Sprintf("10.43.0.%d", i), nodePort, localOnly, sticky, balancer("192.0.2.0/24")), podAddr(0), podAddr(1))
	}
	for i := range 3 {
		w.remove(fmt.Sprint(i))
	}
	w.within(w.node, func() error {
		out, err := exec.Command("nft", "list", "table", "ip", tableName("test")).Output()
		for _, left := range []string{"pool-", "targets-", "alive-", "ext-", "fw-", "clients-", "elements"} {
			if strings.Contains(string(out), left) {
				t.Errorf("%s… is left:\n%s", left, out)
			}
		}
		return err
	})
}
