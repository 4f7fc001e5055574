// Package nodelifecycle tells what the cluster thinks of its nodes: one that has
// gone silent is Unknown, and the taints of every node follow its conditions.
package nodelifecycle

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/coordination/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

type controller struct {
	client kubernetes.Interface
	leases listers.LeaseLister
	pods   corelisters.PodLister
	clock  clock.PassiveClock
	loop   *reconcile.Loop
	// started: silence counts from when we began to listen, not from before.
	started metav1.Time
}

// New watches nodes and their leases.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, clock clock.PassiveClock) (*reconcile.Loop, error) {
	c := &controller{client: client, leases: factory.Coordination().V1().Leases().Lister(), pods: factory.Core().V1().Pods().Lister(), clock: clock, started: metav1.NewTime(clock.Now())}
	factory.Coordination().V1().Leases().Informer()
	nodes := factory.Core().V1().Nodes()
	c.loop = reconcile.New("nodelifecycle", 2, func(ctx context.Context, key string) error {
		node, err := nodes.Lister().Get(key)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return c.reconcile(ctx, node.DeepCopy())
	})
	return c.loop, c.loop.Watch(nodes.Informer(), nil)
}

func (c *controller) reconcile(ctx context.Context, node *v1.Node) error {
	now := c.clock.Now()
	heard := lastHeard(node, c.renewed(node.Name))
	if c.started.After(heard) {
		heard = c.started.Time
	}
	c.loop.After(node.Name, max(heard.Add(grace).Sub(now), grace/10))
	if now.Sub(heard) >= grace {
		if conditions := silenced(node, now); !equality.Semantic.DeepEqual(conditions, node.Status.Conditions) {
			node.Status.Conditions = conditions
			updated, err := c.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
			if err != nil {
				return ignoreRace(err)
			}
			node = updated
		}
		if err := c.unready(ctx, node.Name); err != nil {
			return err
		}
	}
	taints := taintsFor(node, now)
	if equality.Semantic.DeepEqual(taints, node.Spec.Taints) {
		return nil
	}
	node.Spec.Taints = taints
	_, err := c.client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
	return ignoreRace(err)
}

// ignoreRace: whoever changed the node in between makes the informer call again.
func ignoreRace(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (c *controller) renewed(node string) *metav1.MicroTime {
	lease, err := c.leases.Leases(v1.NamespaceNodeLease).Get(node)
	if err != nil {
		return nil
	}
	return lease.Spec.RenewTime
}
