package dns

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write testdata/answers.txt anew")

// testInformers hold the objects of testdata/cluster.yaml, not yet started.
func testInformers(t *testing.T) informers.SharedInformerFactory {
	t.Helper()
	data, err := os.ReadFile("testdata/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	for text := range strings.SplitSeq(string(data), "\n---\n") {
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(text), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		objects = append(objects, o)
	}
	return informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
}

func testZone(t *testing.T) *Zone {
	t.Helper()
	factory := testInformers(t)
	catalog, err := newCatalog(factory)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), catalog.synced...) {
		t.Fatal("no sync")
	}
	return &Zone{
		Domain: "cluster.local", Servers: []netip.Addr{netip.MustParseAddr("10.43.0.10")}, TTL: 5, Catalog: catalog,
		Own: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")},
	}
}

// The specification, question by question: read testdata/answers.txt.
func TestAnswers(t *testing.T) {
	z := testZone(t)
	questions, err := os.ReadFile("testdata/questions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(questions)) {
		if strings.HasPrefix(line, "#") {
			got.WriteString("\n" + line)
			continue
		}
		kind, qname, _ := strings.Cut(strings.TrimSpace(line), " ")
		a, ours := z.Resolve(dns.Question{Name: dns.Fqdn(qname), Qtype: dns.StringToType[kind], Qclass: dns.ClassINET})
		fmt.Fprintf(&got, "%s %s: %s\n", kind, qname, describe(a, ours))
	}
	if *update {
		if err := os.WriteFile("testdata/answers.txt", []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/answers.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("answers differ from testdata/answers.txt (go test -update writes it):\n%s", got.String())
	}
}

func describe(a Answer, ours bool) string {
	if !ours {
		return "not ours"
	}
	var b strings.Builder
	b.WriteString(dns.RcodeToString[a.Rcode])
	if a.Outside != "" {
		fmt.Fprintf(&b, ", ask upstream for %s", a.Outside)
	}
	for _, rr := range a.Records {
		fmt.Fprintf(&b, "\n\t%s", strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range a.Extra {
		fmt.Fprintf(&b, "\n\t+ %s", strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return b.String()
}

func TestAddressLabelsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{4, 16}).Draw(t, "bytes")
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "addr"))
		if a.Is4In6() {
			t.Skip("written as IPv4")
		}
		if got, ok := dashed(dash(a)); !ok || got != a {
			t.Fatalf("%s is read as %s", dash(a), got)
		}
		arpa, err := dns.ReverseAddr(a.String())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := reversed(dns.SplitDomainName(arpa)); !ok || got != a {
			t.Fatalf("%s is read as %s", arpa, got)
		}
	})
}

// Whatever is asked, the answer is about the name that was asked for, and can be packed.
func TestAnyQuestionHasAnAnswer(t *testing.T) {
	z := testZone(t)
	label := rapid.SampledFrom([]string{"web", "db", "db-0", "default", "svc", "pod", "cluster", "local", "_http", "_tcp", "alias", "loop", "10-42-0-6", "in-addr", "arpa", "7", "43", "10", ""})
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(label, 0, 6).Draw(t, "labels")
		if rapid.Bool().Draw(t, "ours") {
			labels = append(labels, "svc", "cluster", "local")
		}
		q := dns.Question{Name: strings.Join(labels, ".") + ".", Qtype: rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeCNAME, dns.TypeANY}).Draw(t, "type"), Qclass: dns.ClassINET}
		a, ours := z.Resolve(q)
		if !ours {
			return
		}
		if len(a.Records) > 0 && a.Records[0].Header().Name != q.Name {
			t.Fatalf("asked for %s, told of %s", q.Name, a.Records[0].Header().Name)
		}
		if a.Rcode == dns.RcodeNameError && len(a.Records) > 0 && a.Records[0].Header().Rrtype != dns.TypeCNAME {
			t.Fatalf("the name does not exist and has %v", a.Records)
		}
		m := &dns.Msg{Answer: a.Records, Extra: a.Extra}
		if _, err := m.Pack(); err != nil {
			t.Fatal(err)
		}
	})
}
