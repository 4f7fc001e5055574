// Package noderange gives every node its share of the cluster's pod addresses.
//
// In: Nodes. Out: their spec.podCIDR, which stays for the node's life, and beside
// it an annotation that tells the node what the whole is. State: none beyond the
// nodes; what was just given counts until the cache shows it.
package noderange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Annotation of a node: the addresses of all nodes' pods, as a prefix.
const Annotation = "proa.dev/cluster-cidr"

// Config of the controller: IPv4 ranges.
type Config struct {
	Cluster  netip.Prefix // of all nodes
	Bits     int          // of one node's share
	Reserved netip.Prefix // the server's own share, also while its node is not there
}

type controller struct {
	Config
	client kubernetes.Interface
	nodes  corelisters.NodeLister
	// given is what was given here and the cache may not show yet.
	given map[types.UID]netip.Prefix
	// last given: a node that is gone leaves its share to others as late as possible.
	last netip.Prefix
}

// New watches nodes.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, c Config) (*reconcile.Loop, error) {
	if !c.Cluster.Addr().Is4() || c.Bits < c.Cluster.Bits() || c.Bits > 30 {
		return nil, fmt.Errorf("noderange: no shares of %d bits in %s", c.Bits, c.Cluster)
	}
	nodes := factory.Core().V1().Nodes()
	n := &controller{Config: c, client: client, nodes: nodes.Lister(), given: map[types.UID]netip.Prefix{}}
	loop := reconcile.New("noderange", 1, n.reconcile)
	return loop, loop.Watch(nodes.Informer(), nil)
}

func (n *controller) reconcile(ctx context.Context, name string) error {
	node, err := n.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := n.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	n.forget(all)
	if _, done := n.given[node.UID]; done || node.Spec.PodCIDR != "" {
		return nil
	}
	return n.give(ctx, node, append(rangesOf(all), n.Reserved))
}

// forget what the cache shows by now, and nodes that are gone.
func (n *controller) forget(nodes []*v1.Node) {
	waiting := map[types.UID]bool{}
	for _, node := range nodes {
		waiting[node.UID] = node.Spec.PodCIDR == ""
	}
	maps.DeleteFunc(n.given, func(uid types.UID, _ netip.Prefix) bool { return !waiting[uid] })
}

func (n *controller) give(ctx context.Context, node *v1.Node, taken []netip.Prefix) error {
	for _, p := range n.given {
		taken = append(taken, p)
	}
	share, ok := next(n.Cluster, n.Bits, n.last, taken)
	if !ok {
		return errors.New("no share of " + n.Cluster.String() + " is left for node " + node.Name)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID, "annotations": map[string]string{Annotation: n.Cluster.String()}},
		"spec":     map[string]any{"podCIDR": share.String(), "podCIDRs": []string{share.String()}},
	})
	if err != nil {
		return err
	}
	if _, err := n.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return fmt.Errorf("give node %s its pod addresses: %w", node.Name, err)
	}
	n.given[node.UID], n.last = share, share
	return nil
}
