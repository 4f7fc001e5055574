package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func hex(t *testing.T, line string) uint64 {
	t.Helper()
	fields := strings.Fields(line)
	n, err := strconv.ParseUint(fields[len(fields)-1], 16, 64)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return n
}

func TestP7_NamesAndResolvers(t *testing.T) {
	t.Parallel()
	s := begin(t)
	specs := map[string]string{
		"first":   "",
		"default": "  dnsPolicy: Default",
		"nethost": "  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet",
		"plain":   "  hostNetwork: true",
		"none":    "  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.1], searches: [a.example], options: [{name: ndots, value: '2'}, {name: edns0}]}",
		"many":    "  dnsConfig: {nameservers: [192.0.2.1, 192.0.2.2, 192.0.2.3], searches: [x.example], options: [{name: ndots, value: '7'}]}",
		"named":   "  hostname: me\n  subdomain: sub\n  hostAliases: [{ip: 192.0.2.7, hostnames: [one, two]}]",
		"full":    "  hostname: me\n  subdomain: sub\n  setHostnameAsFQDN: true",
		"other":   "  hostnameOverride: other.example",
	}
	for name, spec := range specs {
		s.apply(busybox(name, "sleep 3600", spec))
	}
	for name := range specs {
		s.ready(name)
	}
	of := func(pod string, command ...string) string {
		return s.kubectl(append([]string{"exec", pod, "--"}, command...)...)
	}
	const resolver = "/etc/resolv.conf"
	cluster := of("first", "cat", resolver)
	s.contains(cluster, fmt.Sprintf("search %s.svc.cluster.local svc.cluster.local cluster.local", s.namespace), "\nnameserver ", "options ndots:5\n")
	if got := of("nethost", "cat", resolver); got != cluster {
		t.Errorf("ClusterFirstWithHostNet: %q, not %q", got, cluster)
	}
	own, err := os.ReadFile(resolver)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(own)) {
		if strings.HasPrefix(line, "nameserver ") {
			s.contains(of("default", "cat", resolver), line)
			s.contains(of("plain", "cat", resolver), line)
		}
	}
	if got := of("none", "cat", resolver); got != "search a.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n" {
		t.Errorf("None: %q", got)
	}
	many := of("many", "cat", resolver)
	s.contains(many, "x.example", "options ndots:7\n")
	if strings.Count(many, "nameserver") != 3 {
		t.Errorf("more than three servers: %s", many)
	}
	s.contains(s.kubectl("describe", "pod", "many"), "DNSConfigForming", "Nameserver limits were exceeded")

	fqdn := fmt.Sprintf("me.sub.%s.svc.cluster.local", s.namespace)
	for pod, want := range map[string]string{"first": "first", "named": "me", "full": fqdn, "other": "other.example", "plain": s.node()} {
		if got := strings.TrimSpace(of(pod, "hostname")); got != want {
			t.Errorf("%s: hostname %q, want %q", pod, got, want)
		}
	}
	p := s.pod("named")
	s.contains(of("named", "cat", "/etc/hosts"), p.Status.PodIP+"\t"+fqdn+"\tme\n", "192.0.2.7\tone\ttwo\n")
}

func TestP7_HostsNamespaces(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("pid", "sleep 3600", "  hostPID: true"))
	s.apply(busybox("ipc", "sleep 3600", "  hostIPC: true"))
	s.apply(busybox("own", "sleep 3600", ""))
	for _, name := range []string{"pid", "ipc", "own"} {
		s.ready(name)
	}
	host := func(kind string) string {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		return link + "\n"
	}
	for _, c := range []struct {
		pod, kind string
		shared    bool
	}{{"pid", "pid", true}, {"pid", "ipc", false}, {"ipc", "ipc", true}, {"ipc", "pid", false}, {"own", "pid", false}, {"own", "ipc", false}, {"own", "net", false}} {
		if got := s.kubectl("exec", c.pod, "--", "readlink", "/proc/self/ns/"+c.kind); (got == host(c.kind)) != c.shared {
			t.Errorf("%s: %s is %s, the host's %s", c.pod, c.kind, got, host(c.kind))
		}
	}
}

// Who is bound to the node for a port that is taken is refused by the node itself.
func TestP7_TheNodeRefusesAHostPortThatIsTaken(t *testing.T) {
	t.Parallel()
	s := begin(t)
	ports := "    ports: [{containerPort: 80, hostPort: 38902}]\n"
	s.apply(strings.Replace(busybox("first", "sleep 3600", ""), "    image:", ports+"    image:", 1))
	s.ready("first")
	s.apply(strings.Replace(busybox("second", "sleep 3600", "  nodeName: "+s.node()), "    image:", ports+"    image:", 1))
	p := s.await("second", "has failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if p.Status.Reason != "NodePorts" {
		t.Errorf("reason %q: %s", p.Status.Reason, p.Status.Message)
	}
	s.contains(s.kubectl("get", "pod", "second"), "NodePorts")
}
