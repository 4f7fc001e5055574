package proxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ptr[T any](v T) *T { return &v }

func service(name, ip string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: name, UID: "u"}}
	s.Spec.Type, s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ServiceTypeClusterIP, ip, []string{ip}
	s.Spec.Ports = []v1.ServicePort{{Protocol: v1.ProtocolTCP, Port: 80}}
	for _, f := range change {
		f(s)
	}
	return s
}

type endpoint struct {
	addr, node  string
	ready, ends bool
}

func slice(name string, port int32, endpoints ...endpoint) *discovery.EndpointSlice {
	s := &discovery.EndpointSlice{AddressType: discovery.AddressTypeIPv4}
	s.Namespace, s.Labels = "d", map[string]string{discovery.LabelServiceName: name}
	s.Ports = []discovery.EndpointPort{{Port: &port}}
	for _, e := range endpoints {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{
			Addresses: []string{e.addr}, NodeName: &e.node,
			Conditions: discovery.EndpointConditions{Ready: &e.ready, Serving: ptr(e.ready || e.ends), Terminating: &e.ends},
		})
	}
	return s
}

// describe writes a ruleset as lines that a reader can compare.
func describe(r Ruleset) string {
	lines := map[string]bool{}
	for f, chain := range r.Frontends {
		lines[fmt.Sprintf("%v:%d → %v", f.Addr, f.Port, r.Chains[chain].Endpoints)] = true
	}
	for f := range r.Refused {
		lines[fmt.Sprintf("%v:%d refused", f.Addr, f.Port)] = true
	}
	var out []string
	for l := range lines {
		out = append(out, l)
	}
	return strings.Join(sorted(out), "\n")
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

func TestCompile(t *testing.T) {
	local := v1.ServiceInternalTrafficPolicyLocal
	for name, c := range map[string]struct {
		service *v1.Service
		slice   *discovery.EndpointSlice
		want    string
	}{
		"ready ones only":           {service("s", "10.2.0.1"), slice("s", 8080, endpoint{"10.1.0.2", "n", true, false}, endpoint{"10.1.0.3", "n", false, false}), "10.2.0.1:80 → [10.1.0.2:8080]"},
		"ending ones if none ready": {service("s", "10.2.0.1"), slice("s", 80, endpoint{"10.1.0.2", "n", false, true}), "10.2.0.1:80 → [10.1.0.2:80]"},
		"no endpoint is refused":    {service("s", "10.2.0.1"), slice("s", 80), "10.2.0.1:80 refused"},
		"of another service":        {service("s", "10.2.0.1"), slice("other", 80, endpoint{"10.1.0.2", "n", true, false}), "10.2.0.1:80 refused"},
		"headless":                  {service("s", "None"), slice("s", 80, endpoint{"10.1.0.2", "n", true, false}), ""},
		"node port": {service("s", "10.2.0.1", func(s *v1.Service) { s.Spec.Ports[0].NodePort = 30001 }), slice("s", 80, endpoint{"10.1.0.2", "n", true, false}),
			"10.2.0.1:80 → [10.1.0.2:80]\ninvalid IP:30001 → [10.1.0.2:80]"},
		"internal traffic stays on the node": {service("s", "10.2.0.1", func(s *v1.Service) { s.Spec.InternalTrafficPolicy = &local }),
			slice("s", 80, endpoint{"10.1.0.2", "n", true, false}, endpoint{"10.9.0.2", "far", true, false}), "10.2.0.1:80 → [10.1.0.2:80]"},
		"external addresses": {service("s", "10.2.0.1", func(s *v1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.7"} }), slice("s", 80, endpoint{"10.1.0.2", "n", true, false}),
			"10.2.0.1:80 → [10.1.0.2:80]\n192.0.2.7:80 → [10.1.0.2:80]"},
	} {
		got := describe(Compile([]*v1.Service{c.service}, []*discovery.EndpointSlice{c.slice}, "n"))
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// The node's own packets pass the same chains as a pod's: a dummy address on
// loopback stands for the endpoints, so that nothing leaves the machine.
func TestTableOnTheKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes packet rules: run it as root")
	}
	id := fmt.Sprintf("%08x", os.Getpid())
	table := newTable(id)
	if err := table.install(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(id); err != nil {
			t.Error(err)
		}
	})
	first, second := serve(t, "127.77.0.1"), serve(t, "127.77.0.2")
	// The service's address is on loopback too: it needs no route of its own.
	vip := "127.77.1.1"
	apply := func(s *v1.Service, endpoints ...netip.AddrPort) {
		t.Helper()
		var slices []*discovery.EndpointSlice
		for _, e := range endpoints {
			slices = append(slices, slice("s", int32(e.Port()), endpoint{e.Addr().String(), "n", true, false}))
		}
		if err := table.apply(Compile([]*v1.Service{s}, slices, "n")); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(n int) map[string]int {
		t.Helper()
		answers := map[string]int{}
		for range n {
			answer, err := ask(vip + ":80")
			if err != nil {
				t.Fatal(err)
			}
			answers[answer]++
		}
		return answers
	}

	apply(service("s", vip), first, second)
	if got := seen(60); len(got) != 2 {
		t.Errorf("60 connections went to %v, want both endpoints", got)
	}
	apply(service("s", vip), second)
	if got := seen(10); got["127.77.0.2"] != 10 {
		t.Errorf("after the first endpoint left, connections went to %v", got)
	}
	apply(service("s", vip))
	began := time.Now()
	if _, err := ask(vip + ":80"); err == nil || !strings.Contains(err.Error(), "refused") || time.Since(began) > time.Second {
		t.Errorf("with no endpoint: %v after %v, want refused at once", err, time.Since(began))
	}
	sticky := service("s", vip, func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP })
	apply(sticky, first, second)
	if got := seen(30); len(got) != 1 {
		t.Errorf("with client affinity 30 connections went to %v, want one endpoint", got)
	}
	apply(service("s", vip, func(s *v1.Service) { s.Spec.Ports[0].NodePort = 31777 }), first)
	if answer, err := ask("127.0.0.1:31777"); err != nil || answer != "127.77.0.1" {
		t.Errorf("node port: %q, %v", answer, err)
	}
	if err := table.apply(Ruleset{}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "list", "table", "ip", tableName(id)).Output()
	if err != nil || strings.Contains(string(out), "chain to-") || strings.Contains(string(out), "clients-") {
		t.Errorf("an empty ruleset leaves %v:\n%s", err, out)
	}
}

func serve(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, addr)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func ask(addr string) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	data, err := io.ReadAll(c)
	return string(data), err
}
