package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// elsewhere is a resolver for all other names, on a loopback address of its own.
type elsewhere struct {
	addr  netip.Addr
	mu    sync.Mutex
	asked []string
}

func (e *elsewhere) questions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.asked...)
}

func serveElsewhere(t *testing.T, addr string) *elsewhere {
	t.Helper()
	e := &elsewhere{addr: netip.MustParseAddr(addr)}
	udp, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(e.serve)
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		go func() { _ = s.ActivateAndServe(); close(ended) }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
	return e
}

// serve: "big" names have more records than a datagram holds, "no" names don't exist.
func (e *elsewhere) serve(w dns.ResponseWriter, q *dns.Msg) {
	name := q.Question[0].Name
	e.mu.Lock()
	e.asked = append(e.asked, w.RemoteAddr().Network()+" "+name)
	e.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	add := func(text string) {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	switch {
	case strings.HasPrefix(name, "no."):
		m.Rcode = dns.RcodeNameError
		add("example.com. 60 IN SOA a. b. 1 2 3 4 60")
	case strings.HasPrefix(name, "broken."):
		m.Rcode = dns.RcodeServerFailure
	case strings.HasPrefix(name, "big."):
		for i := range 200 {
			add(fmt.Sprintf("%s 60 IN A 192.0.2.%d", name, i))
		}
	default:
		add(name + " 60 IN A 192.0.2.1")
	}
	if w.RemoteAddr().Network() == "udp" {
		m.Truncate(1232)
	}
	_ = w.WriteMsg(m)
}

// serveTest starts a server whose node asks the given resolvers.
func serveTest(t *testing.T, upstream ...netip.Addr) string {
	t.Helper()
	var text strings.Builder
	for _, a := range upstream {
		fmt.Fprintf(&text, "nameserver %s\n", a)
	}
	resolvConf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	factory := testInformers(t)
	s, err := New(Config{
		Addr: netip.MustParseAddr("127.153.0.1"), ServiceIPs: []netip.Addr{netip.MustParseAddr("10.43.0.10")}, Domain: "cluster.local",
		Own: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/15")}, ResolvConf: resolvConf, Informers: factory, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	factory.Start(ctx.Done())
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		factory.Shutdown()
	})
	return s.Addr().String()
}

func ask(t *testing.T, client dns.Client, server, kind, name string, change ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[kind])
	for _, f := range change {
		f(m)
	}
	client.Timeout = 10 * time.Second
	a, _, err := client.Exchange(m, server)
	if err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return a
}

func addressesIn(m *dns.Msg) (all []string) {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	return all
}

var udp, tcp = dns.Client{Net: "udp"}, dns.Client{Net: "tcp"}

func TestServerAnswersOnBothTransports(t *testing.T) {
	server := serveTest(t)
	for _, client := range []dns.Client{udp, tcp} {
		a := ask(t, client, server, "A", "web.default.svc.cluster.local")
		if got := addressesIn(a); len(got) != 1 || got[0] != "10.43.7.7" || !a.Authoritative || !a.RecursionAvailable {
			t.Errorf("%s: %v", client.Net, a)
		}
		a = ask(t, client, server, "A", "missing.default.svc.cluster.local")
		if a.Rcode != dns.RcodeNameError || len(a.Ns) != 1 || a.Ns[0].Header().Rrtype != dns.TypeSOA {
			t.Errorf("%s: a missing name: %v", client.Net, a)
		}
		a = ask(t, client, server, "MX", "web.default.svc.cluster.local")
		if a.Rcode != dns.RcodeSuccess || len(a.Answer) != 0 || len(a.Ns) != 1 {
			t.Errorf("%s: a missing type: %v", client.Net, a)
		}
	}
	if a := ask(t, tcp, server, "AXFR", "cluster.local"); a.Rcode != dns.RcodeRefused {
		t.Errorf("a transfer: %v", a)
	}
}

func TestServerCutsAnswersToTheSizeAsked(t *testing.T) {
	up := serveElsewhere(t, "127.153.0.2")
	server := serveTest(t, up.addr)
	a := ask(t, udp, server, "A", "big.example.com")
	if !a.Truncated || len(a.Answer) == 0 { // more than 512 bytes the client would not have read
		t.Errorf("without EDNS: %d records, truncated %v", len(a.Answer), a.Truncated)
	}
	a = ask(t, dns.Client{Net: "udp", UDPSize: 4096}, server, "A", "big.example.com", func(m *dns.Msg) { m.SetEdns0(4096, false) })
	if a.Truncated || len(a.Answer) != 200 || a.IsEdns0() == nil {
		t.Errorf("with EDNS of 4096: truncated %v, %d records, OPT %v", a.Truncated, len(a.Answer), a.IsEdns0())
	}
	if a = ask(t, tcp, server, "A", "big.example.com"); a.Truncated || len(a.Answer) != 200 {
		t.Errorf("on TCP: truncated %v, %d records", a.Truncated, len(a.Answer))
	}
	if got := fmt.Sprint(up.questions()); got != "[udp big.example.com. tcp big.example.com.]" {
		t.Errorf("upstream was asked %s, want once on each transport", got)
	}
}

func TestServerForwardsAndRemembers(t *testing.T) {
	up := serveElsewhere(t, "127.153.0.2")
	server := serveTest(t, up.addr)
	for range 2 {
		for _, name := range []string{"www.example.com", "WWW.example.com"} {
			if got := addressesIn(ask(t, udp, server, "A", name)); len(got) != 1 || got[0] != "192.0.2.1" {
				t.Errorf("%s: %v", name, got)
			}
		}
		if a := ask(t, udp, server, "A", "no.example.com"); a.Rcode != dns.RcodeNameError {
			t.Errorf("a name that nobody has: %v", a)
		}
	}
	a := ask(t, udp, server, "A", "outside.default.svc.cluster.local")
	if len(a.Answer) != 2 || a.Answer[0].Header().Rrtype != dns.TypeCNAME || addressesIn(a)[0] != "192.0.2.1" {
		t.Errorf("an ExternalName: %v", a)
	}
	if got := fmt.Sprint(up.questions()); got != "[udp www.example.com. udp no.example.com.]" {
		t.Errorf("upstream was asked %s", got)
	}
}

func TestServerKeepsTheClustersNamesToItself(t *testing.T) {
	up := serveElsewhere(t, "127.153.0.2")
	server := serveTest(t, up.addr)
	for _, name := range []string{"missing.default.svc.cluster.local", "wait-service", "cluster.local"} {
		ask(t, udp, server, "A", name)
	}
	ask(t, udp, server, "PTR", "77.0.42.10.in-addr.arpa")
	if got := up.questions(); len(got) != 0 {
		t.Errorf("upstream was asked %v", got)
	}
}

func TestServerGoesOnToTheNextUpstream(t *testing.T) {
	up := serveElsewhere(t, "127.153.0.2")
	silent := netip.MustParseAddr("127.153.0.3") // nobody listens: refused at once
	server := serveTest(t, silent, up.addr)
	for i := range 3 {
		if got := addressesIn(ask(t, udp, server, "A", fmt.Sprintf("n%d.example.com", i))); len(got) != 1 {
			t.Errorf("question %d has no answer", i)
		}
	}
	if a := ask(t, udp, server, "A", "broken.example.com"); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("upstream fails: %v", a)
	}
	if a := ask(t, udp, serveTest(t), "A", "www.example.com"); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("without upstream: %v", a)
	}
}
