// Package endpointslicemirroring makes EndpointSlices of the Endpoints objects
// that people or programs wrote for services without a selector.
package endpointslicemirroring

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

type controller struct {
	client    kubernetes.Interface
	services  corelisters.ServiceLister
	endpoints corelisters.EndpointsLister
	slices    discoverylisters.EndpointSliceLister
}

// New watches services, endpoints and slices.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*reconcile.Loop, error) {
	core, sliceInformer := factory.Core().V1(), factory.Discovery().V1().EndpointSlices()
	c := &controller{client: client, services: core.Services().Lister(), endpoints: core.Endpoints().Lister(), slices: sliceInformer.Lister()}
	loop := reconcile.New("endpointslicemirroring", 1, c.reconcile)
	return loop, errors.Join(
		loop.Watch(core.Services().Informer(), nil),
		loop.Watch(core.Endpoints().Informer(), nil),
		loop.Watch(sliceInformer.Informer(), func(o any) []string {
			if s := o.(*discoveryv1.EndpointSlice); s.Labels[discoveryv1.LabelManagedBy] == name {
				return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}
			}
			return nil
		}),
	)
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, service, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	want, err := c.wanted(namespace, service)
	if err != nil {
		return err
	}
	ours := labels.Set{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: name}
	have, err := c.slices.EndpointSlices(namespace).List(ours.AsSelectorPreValidated())
	if err != nil {
		return err
	}
	if err := c.act(ctx, namespace, plan(want, have)); err != nil {
		return fmt.Errorf("mirror endpoints %s: %w", key, err)
	}
	return nil
}

// wanted slices of a name: none if there is no service, or one with a selector.
func (c *controller) wanted(namespace, service string) (map[string]*discoveryv1.EndpointSlice, error) {
	s, err := c.services.Services(namespace).Get(service)
	if apierrors.IsNotFound(err) || err == nil && s.Spec.Selector != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := c.endpoints.Endpoints(namespace).Get(service)
	if apierrors.IsNotFound(err) || err == nil && skips(e) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return wanted(e), nil
}

func (c *controller) act(ctx context.Context, namespace string, s step) error {
	objects := c.client.DiscoveryV1().EndpointSlices(namespace)
	var failed []error
	for _, o := range s.create {
		_, err := objects.Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
			err = nil // its event is on the way, or everything is going
		}
		failed = append(failed, err)
	}
	for _, o := range s.update {
		_, err := objects.Update(ctx, o, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			err = nil // the cache is behind; its event is on the way
		}
		failed = append(failed, err)
	}
	for _, o := range s.remove {
		err := objects.Delete(ctx, o.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(o.UID))})
		if apierrors.IsNotFound(err) {
			err = nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
