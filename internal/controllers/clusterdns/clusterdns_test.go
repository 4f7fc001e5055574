package clusterdns

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func node(name, listens string, ready v1.ConditionStatus) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if listens != "" {
		n.Annotations = map[string]string{Annotation: listens}
	}
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: ready}}
	return n
}

func TestEveryResolverIsListedForItsOwnNode(t *testing.T) {
	want := wantSlices([]*v1.Node{
		node("b", "10.42.1.1:53,[fd00:42:1::1]:53", v1.ConditionTrue),
		node("a", "10.42.0.1:53", v1.ConditionFalse), // not Ready, and yet its resolver answers
		node("gone", "10.42.2.1:53", v1.ConditionUnknown),
		node("other", "10.42.3.1:1053", v1.ConditionTrue),
		node("foreign", "", v1.ConditionTrue),
	})
	got := map[string][]string{}
	for name, s := range want {
		for _, e := range s.Endpoints {
			text := *e.NodeName + "=" + e.Addresses[0]
			if !*e.Conditions.Ready {
				text += " not ready"
			}
			if len(e.Hints.ForNodes) != 1 || e.Hints.ForNodes[0].Name != *e.NodeName {
				t.Errorf("%s: hints %v", text, e.Hints)
			}
			got[name] = append(got[name], text)
		}
	}
	expected := map[string][]string{
		"kube-dns-ipv4":      {"a=10.42.0.1", "b=10.42.1.1", "gone=10.42.2.1 not ready"},
		"kube-dns-ipv4-1053": {"other=10.42.3.1"},
		"kube-dns-ipv6":      {"b=fd00:42:1::1"},
	}
	if !maps.EqualFunc(got, expected, slices.Equal[[]string]) {
		t.Errorf("got %v, want %v", got, expected)
	}
}

func TestPlanSettles(t *testing.T) {
	want := wantSlices([]*v1.Node{node("a", "10.42.0.1:53", v1.ConditionTrue)})
	have := []*discovery.EndpointSlice{{ObjectMeta: metav1.ObjectMeta{Name: "kube-dns-ipv6"}}, {ObjectMeta: metav1.ObjectMeta{Name: "kube-dns-ipv4", UID: "u"}}}
	s := plan(want, have)
	if len(s.create) != 0 || len(s.update) != 1 || s.update[0].UID != "u" || len(s.remove) != 1 || s.remove[0].Name != "kube-dns-ipv6" {
		t.Errorf("first: %+v", s)
	}
	if s = plan(want, s.update); len(s.create)+len(s.update)+len(s.remove) != 0 {
		t.Errorf("then: %+v", s)
	}
}

// On a real API server: the service comes with its address, and comes back; one
// with a selector is somebody else's.
func TestTheServiceIsKeptAndGivenAway(t *testing.T) {
	const addr = "10.43.0.10"
	s := apitest.Start(t, func(c *apiserver.Config) { c.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")} })
	factory, start := s.Informers(t)
	loop, err := New(s.Client, factory, []netip.Addr{netip.MustParseAddr(addr)})
	if err != nil {
		t.Fatal(err)
	}
	start()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- loop.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if _, err := s.Client.CoreV1().Nodes().Create(ctx, node("a", "10.42.0.1:53", v1.ConditionTrue), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	services := s.Client.CoreV1().Services(namespace)
	slicesAre := func(n int) func() bool {
		return func() bool {
			list, err := s.Client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + service})
			return err == nil && len(list.Items) == n
		}
	}
	until(t, "the service has its slice", slicesAre(1))
	if err := services.Delete(ctx, service, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the service is back", func() bool {
		have, err := services.Get(ctx, service, metav1.GetOptions{})
		return err == nil && have.Spec.ClusterIP == addr && have.Labels["k8s-app"] == "kube-dns"
	})
	have, err := services.Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	have.Spec.Selector = map[string]string{"app": "coredns"}
	if _, err := services.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "our slice is gone", slicesAre(0))
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
