package app

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/network"
)

func TestWaysToTheOtherNodes(t *testing.T) {
	node := func(name, pods, machine string, age int64) *v1.Node {
		n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1000-age, 0))}, Spec: v1.NodeSpec{PodCIDR: pods}}
		if machine != "" {
			n.Annotations = map[string]string{machineAnnotation: machine}
		}
		return n
	}
	nodes := []*v1.Node{
		node("server", "10.42.0.0/24", "", 9),
		node("self", "10.42.1.0/24", "192.0.2.2", 8),
		node("other", "10.42.2.0/24", "192.0.2.3", 7),
		node("thief", "10.42.2.0/24", "192.0.2.4", 1),
		node("mine too", "10.42.1.0/24", "192.0.2.5", 1),
		node("new", "", "192.0.2.6", 0),
	}
	peer := func(pods, machine string) network.Peer {
		return network.Peer{Pods: netip.MustParsePrefix(pods), Machine: netip.MustParseAddr(machine)}
	}
	own, server := netip.MustParsePrefix("10.42.1.0/24"), netip.MustParseAddr("192.0.2.1")
	if got, want := waysTo(nodes, "self", own, server), []network.Peer{peer("10.42.0.0/24", "192.0.2.1"), peer("10.42.2.0/24", "192.0.2.3")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// On the control plane's own machine, who says nothing is not known.
	if got := waysTo(nodes[:1], "self", own, netip.Addr{}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}
