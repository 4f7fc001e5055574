// Package clusterdns keeps the service by which pods reach the resolvers that
// run on the nodes: kube-dns in kube-system, at the address that every pod's
// resolv.conf has. Somebody who brings a resolver of their own gives the service
// a selector; then it is theirs.
package clusterdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

type controller struct {
	client   kubernetes.Interface
	ips      []netip.Addr
	services corelisters.ServiceLister
	nodes    corelisters.NodeLister
	slices   discoverylisters.EndpointSliceLister
}

// New keeps the service at the given addresses, one a family.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, ips []netip.Addr) (*reconcile.Loop, error) {
	if len(ips) == 0 {
		return nil, errors.New("clusterdns: the service needs an address")
	}
	core, slices := factory.Core().V1(), factory.Discovery().V1().EndpointSlices()
	c := &controller{client: client, ips: ips, services: core.Services().Lister(), nodes: core.Nodes().Lister(), slices: slices.Lister()}
	loop := reconcile.New("clusterdns", 1, c.reconcile)
	only := func(mine bool) []string {
		if mine {
			return []string{service}
		}
		return nil
	}
	return loop, errors.Join(
		loop.Watch(core.Namespaces().Informer(), func(o any) []string { return only(o.(*v1.Namespace).Name == namespace) }),
		loop.Watch(core.Nodes().Informer(), func(o any) []string { return only(o.(*v1.Node).Annotations[Annotation] != "") }),
		loop.Watch(core.Services().Informer(), func(o any) []string {
			s := o.(*v1.Service)
			return only(s.Namespace == namespace && s.Name == service)
		}),
		loop.Watch(slices.Informer(), func(o any) []string {
			return only(o.(*discovery.EndpointSlice).Labels[discovery.LabelManagedBy] == managedBy)
		}),
	)
}

func (c *controller) reconcile(ctx context.Context, _ string) error {
	have, err := c.services.Services(namespace).Get(service)
	if apierrors.IsNotFound(err) {
		have, err = c.client.CoreV1().Services(namespace).Create(ctx, wantService(c.ips), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			return nil // the event of the service, or of the namespace, is on the way
		}
	}
	if err != nil {
		return fmt.Errorf("keep service %s: %w", service, err)
	}
	var want map[string]*discovery.EndpointSlice
	if have.Spec.Selector == nil {
		nodes, err := c.nodes.List(labels.Everything())
		if err != nil {
			return err
		}
		want = wantSlices(nodes)
	}
	slices, err := c.slices.EndpointSlices(namespace).List(labels.Set{discovery.LabelManagedBy: managedBy}.AsSelectorPreValidated())
	if err != nil {
		return err
	}
	if err := c.act(ctx, plan(want, slices)); err != nil {
		return fmt.Errorf("endpoints of service %s: %w", service, err)
	}
	return nil
}

func (c *controller) act(ctx context.Context, s step) error {
	objects := c.client.DiscoveryV1().EndpointSlices(namespace)
	var failed []error
	for _, o := range s.create {
		_, err := objects.Create(ctx, o, metav1.CreateOptions{})
		failed = append(failed, unless(apierrors.IsAlreadyExists, err))
	}
	for _, o := range s.update {
		_, err := objects.Update(ctx, o, metav1.UpdateOptions{})
		failed = append(failed, unless(func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }, err))
	}
	for _, o := range s.remove {
		failed = append(failed, unless(apierrors.IsNotFound, objects.Delete(ctx, o.Name, metav1.DeleteOptions{})))
	}
	return errors.Join(failed...)
}

// unless the cache is only behind: then its event is on the way.
func unless(behind func(error) bool, err error) error {
	if behind(err) {
		return nil
	}
	return err
}
