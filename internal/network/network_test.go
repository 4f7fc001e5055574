package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proa-project/proa/internal/kit/netnstest"
)

func testConfig(t *testing.T) Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	ranges, err := FreeRanges()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		ClusterID:   fmt.Sprintf("%08x", os.Getpid()+time.Now().Nanosecond())[:8],
		PodCIDR:     netip.PrefixFrom(ranges.Cluster.Addr(), 24),
		ClusterCIDR: ranges.Cluster,
		ServiceCIDR: ranges.Service,
		StateDir:    filepath.Join(t.TempDir(), "network"),
	}
}

func start(t *testing.T, c Config) *Network {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(c.ClusterID); err != nil {
			t.Errorf("remove: %v", err)
		}
	})
	return n
}

func within(t *testing.T, path string, do func() error) {
	t.Helper()
	if err := netnstest.Inside(path, do); err != nil {
		t.Fatal(err)
	}
}

// greeter answers each connection with the client's address.
func greeter(t *testing.T, path, addr string) {
	t.Helper()
	within(t, path, func() error {
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				io.WriteString(c, host)
				c.Close()
			}
		}()
		return nil
	})
}

func greet(addr string) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	data, err := io.ReadAll(c)
	return string(data), err
}

func greetFrom(t *testing.T, path, addr string) (source string) {
	t.Helper()
	within(t, path, func() (err error) {
		source, err = greet(addr)
		return err
	})
	return source
}

func attach(t *testing.T, n *Network, id, ns string, ports ...HostPort) netip.Addr {
	t.Helper()
	addr, err := n.Attach(context.Background(), id, ns, ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Detach(context.Background(), id); err != nil {
			t.Errorf("detach: %v", err)
		}
	})
	return addr
}

func TestPodsAndNodeReachEachOtherByTheirOwnAddresses(t *testing.T) {
	n := start(t, testConfig(t))
	nsA, nsB := netnstest.New(t, "a"), netnstest.New(t, "b")
	a, b := attach(t, n, "a", nsA), attach(t, n, "b", nsB)
	greeter(t, nsB, ":80")
	if got := greetFrom(t, nsA, b.String()+":80"); got != a.String() {
		t.Errorf("pod to pod: the server sees %s, want %s", got, a)
	}
	got, err := greet(b.String() + ":80")
	if err != nil || got != n.NodeAddr().String() {
		t.Errorf("node to pod: the server sees %q, %v; want %s", got, err, n.NodeAddr())
	}
	node := n.NodeAddr().String()
	greeter(t, "/proc/self/ns/net", node+":34567")
	if got := greetFrom(t, nsA, node+":34567"); got != a.String() {
		t.Errorf("pod to node: the server sees %s, want %s", got, a)
	}
}

func TestHostPorts(t *testing.T) {
	n := start(t, testConfig(t))
	nsA, nsB := netnstest.New(t, "a"), netnstest.New(t, "b")
	a := attach(t, n, "a", nsA, HostPort{Protocol: "tcp", HostPort: 38080, ContainerPort: 80},
		HostPort{Protocol: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 38081, ContainerPort: 80})
	attach(t, n, "b", nsB)
	greeter(t, nsA, ":80")
	for _, addr := range []string{"127.0.0.1:38080", "127.0.0.1:38081", n.NodeAddr().String() + ":38080"} {
		if _, err := greet(addr); err != nil {
			t.Errorf("from the node, %s: %v", addr, err)
		}
	}
	node := n.NodeAddr().String()
	greetFrom(t, nsB, node+":38080")
	if got := greetFrom(t, nsA, node+":38080"); got == a.String() {
		t.Errorf("a pod reaches itself with its own source %s; the answer can't come back that way", got)
	}
	if _, err := greet(node + ":38081"); err == nil {
		t.Error("a port of 127.0.0.1 alone answers on another address")
	}
	if err := n.Detach(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := greet("127.0.0.1:38080"); err == nil {
		t.Error("the host port answers after Detach")
	}
}

func TestUnknownClusterAddressesAreRefusedAtOnce(t *testing.T) {
	c := testConfig(t)
	start(t, c)
	for _, r := range []netip.Prefix{c.ClusterCIDR, c.ServiceCIDR} {
		began := time.Now()
		_, err := greet(netip.AddrPortFrom(r.Addr().Next().Next().Next(), 80).String())
		if err == nil || time.Since(began) > 2*time.Second {
			t.Errorf("%s: %v after %v, want a refusal at once", r, err, time.Since(began))
		}
	}
}

func TestAttachTwiceAndRestart(t *testing.T) {
	c := testConfig(t)
	n := start(t, c)
	ns := netnstest.New(t, "a")
	first := attach(t, n, "a", ns, HostPort{Protocol: "tcp", HostPort: 38082, ContainerPort: 80})
	if again := attach(t, n, "a", ns); again != first {
		t.Errorf("second attach gives %s, the first gave %s", again, first)
	}
	greeter(t, ns, ":80")
	restarted, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if again := attach(t, restarted, "a", ns); again != first {
		t.Errorf("after a restart attach gives %s, want %s", again, first)
	}
	if _, err := greet("127.0.0.1:38082"); err != nil {
		t.Errorf("host port after a restart: %v", err)
	}
	if other := attach(t, restarted, "b", netnstest.New(t, "b")); other == first {
		t.Errorf("%s was given twice", other)
	}
}

func TestAttachToAMissingNamespaceLeavesNothing(t *testing.T) {
	c := testConfig(t)
	n := start(t, c)
	if _, err := n.Attach(context.Background(), "x", "/run/netns/does-not-exist", nil); err == nil || !strings.Contains(err.Error(), "does-not-exist") {
		t.Errorf("got %v, want an error that names the path", err)
	}
	if got := n.Sandboxes(); len(got) != 0 {
		t.Errorf("sandboxes %v stay", got)
	}
	entries, _ := os.ReadDir(c.StateDir)
	if len(entries) != 0 {
		t.Errorf("state %v stays", entries)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	c := testConfig(t)
	start(t, c)
	for range 2 { // removing nothing is no error
		if err := Remove(c.ClusterID); err != nil {
			t.Fatal(err)
		}
	}
	if linkExists(anchorName(c.ClusterID)) {
		t.Error("the anchor stays")
	}
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil || strings.Contains(string(out), tableName(c.ClusterID)) {
		t.Errorf("tables %s, %v", out, err)
	}
}

func TestIPAMNeverGivesAnAddressTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := netip.MustParsePrefix("10.1.2.0/29") // .1 node, .2–.6 pods, .7 broadcast
		p := newIPAM(r)
		held := map[netip.Addr]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "free") {
				for a := range held {
					p.free(a)
					delete(held, a)
					break
				}
				continue
			}
			a, ok := p.next()
			switch {
			case !ok && len(held) != 5:
				t.Fatalf("says it is full with %d of 5 held", len(held))
			case ok && (held[a] || a == nodeAddr(r) || !r.Contains(a) || a == netip.MustParseAddr("10.1.2.7") || a == r.Addr()):
				t.Fatalf("gave %s; held %v", a, held)
			case ok:
				held[a] = true
			}
		}
	})
}

func TestPickRangesAvoidsWhatIsUsed(t *testing.T) {
	got, err := pickRanges([]netip.Prefix{netip.MustParsePrefix("10.42.7.0/24"), netip.MustParsePrefix("10.45.0.0/16")})
	if err != nil || got.Cluster.String() != "10.46.0.0/16" || got.Service.String() != "10.47.0.0/16" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := pickRanges([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Error("want an error when 10/8 is taken")
	}
}

func BenchmarkAttach(b *testing.B) {
	ranges, err := FreeRanges()
	if err != nil {
		b.Fatal(err)
	}
	c := Config{ClusterID: "be9c4a11", PodCIDR: netip.PrefixFrom(ranges.Cluster.Addr(), 24), ClusterCIDR: ranges.Cluster, ServiceCIDR: ranges.Service, StateDir: b.TempDir()}
	n, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	defer Remove(c.ClusterID)
	for b.Loop() {
		b.StopTimer()
		name := fmt.Sprintf("proabench-%d", os.Getpid())
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			b.Fatal(string(out))
		}
		b.StartTimer()
		if _, err := n.Attach(context.Background(), "x", "/run/netns/"+name, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = n.Detach(context.Background(), "x")
		_ = exec.Command("ip", "netns", "del", name).Run()
		time.Sleep(50 * time.Millisecond) // the link goes asynchronously, and its name with it
		b.StartTimer()
	}
}
