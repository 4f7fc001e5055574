package proxy

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/rules.txt anew")

// story is a service with its slices.
type story struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              v1.ServiceSpec
	Status            v1.ServiceStatus
	Slices            []*discovery.EndpointSlice
}

func (s story) service() *v1.Service {
	o := &v1.Service{ObjectMeta: s.ObjectMeta, Spec: s.Spec, Status: s.Status}
	o.Namespace = "default"
	o.Spec.Type = cmp.Or(o.Spec.Type, v1.ServiceTypeClusterIP)
	return o
}

// The rules of services as a reader wants them: read testdata/rules.txt.
func TestCompile(t *testing.T) {
	data, err := os.ReadFile("testdata/services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := Node{
		Name: "here", Zone: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Taken: map[ProtocolPort]bool{{v1.ProtocolTCP, 22}: true},
	}
	var got strings.Builder
	for text := range strings.SplitSeq(string(data), "\n---\n") {
		var s story
		if err := yaml.UnmarshalStrict([]byte(text), &s); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		fmt.Fprintf(&got, "%s: %s\n%s\n", s.Name, s.Annotations["story"], describeRules(Compile(s.service(), s.Slices, here)))
	}
	if *update {
		if err := os.WriteFile("testdata/rules.txt", []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("rules differ from testdata/rules.txt (go test -update writes it):\n%s", got.String())
	}
}

// describeRules writes pools in place of their names, which are hashes.
func describeRules(r Rules) string {
	var lines []string
	pool := func(name string) string {
		p, ok := r.Pools[name]
		if !ok {
			return "nobody"
		}
		text := strings.Join(texts(p.Endpoints), " ")
		if p.Clients != "" {
			text += fmt.Sprintf(" (the same for %v)", p.Affinity)
		}
		return text
	}
	for at, f := range r.Fronts {
		line := fmt.Sprintf("  %v %s:%d ─▶ ", at.Addr, at.Protocol, at.Port)
		switch at.Place {
		case AtNode:
			line = "  node port, " + line[2:]
		case AtLoadBalancer:
			line = "  the node's own addresses, " + line[2:]
		}
		if f.Missed == Refuse {
			line += "refused"
		} else {
			line += pool(f.Pool)
		}
		if f.Inside != "" {
			line += "; the cluster itself: " + pool(f.Inside)
		}
		if f.Masquerade {
			line += "; masqueraded"
		}
		if f.Missed == Drop {
			line += "; others dropped"
		}
		if f.Allow != "" {
			line += "; only from " + f.Allow
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if r.Health != nil {
		lines = append(lines, fmt.Sprintf("  health %d: %d here", r.Health.Port, r.Health.Local))
	}
	if len(r.Local) > 0 {
		lines = append(lines, fmt.Sprint("  on this node: ", r.Local))
	}
	return strings.Join(lines, "\n")
}

func texts[T fmt.Stringer](values []T) (out []string) {
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}
