// Package endpointslice keeps the EndpointSlices of services with a selector in
// step with their pods. What a slice holds is decided by the library
// k8s.io/endpointslice; here are the events that make it look.
package endpointslice

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	library "k8s.io/endpointslice"
	"k8s.io/endpointslice/util"
	"k8s.io/klog/v2"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// name marks the slices that are ours, as in every Kubernetes cluster.
const name = "endpointslice-controller.k8s.io"

// maxEndpoints of one slice.
const maxEndpoints = 100

// Component that events are from.
const Component = "endpoint-slice-controller"

type controller struct {
	services   corelisters.ServiceLister
	pods       corelisters.PodLister
	slices     discoverylisters.EndpointSliceLister
	tracker    *util.EndpointSliceTracker
	triggers   *util.TriggerTimeTracker
	reconciler *library.Reconciler
	recorder   record.EventRecorder
}

// New watches services, pods, nodes and slices.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*reconcile.Loop, error) {
	core, sliceInformer := factory.Core().V1(), factory.Discovery().V1().EndpointSlices()
	c := &controller{
		services: core.Services().Lister(),
		pods:     core.Pods().Lister(),
		slices:   sliceInformer.Lister(),
		tracker:  util.NewEndpointSliceTracker(),
		triggers: util.NewTriggerTimeTracker(),
		recorder: recorder,
	}
	c.reconciler = library.NewReconciler(client, core.Nodes().Lister(), maxEndpoints, c.tracker, nil, recorder, name,
		library.WithPreferSameTrafficDistributionEnabled(true))
	loop := reconcile.New("endpointslice", 2, c.reconcile)
	loop.Needs(core.Nodes().Informer())
	if err := loop.Watch(core.Services().Informer(), nil); err != nil {
		return nil, err
	}
	if err := loop.WatchChanges(core.Pods().Informer(), PodServices(c.services)); err != nil {
		return nil, err
	}
	return loop, loop.WatchChanges(sliceInformer.Informer(), c.sliceChanged)
}

// PodServices gives the keys of the services that a pod's change concerns.
func PodServices(services corelisters.ServiceLister) func(old, current any) []string {
	return func(old, current any) []string {
		concerned, err := util.GetServicesToUpdate(services, util.GetPodUpdateProjectionKey(old, current))
		if err != nil {
			return nil // the lister of a cache does not fail
		}
		return concerned.UnsortedList()
	}
}

// sliceChanged asks for the service of a slice after every change, ours too:
// reconciling waits for its own writes in this way.
func (c *controller) sliceChanged(old, current any) []string {
	var keys []string
	for _, o := range []any{old, current} {
		slice, ok := o.(*discoveryv1.EndpointSlice)
		if !ok || !c.reconciler.ManagedByController(slice) {
			continue
		}
		if key, err := library.ServiceControllerKey(slice); err == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if slice, ok := old.(*discoveryv1.EndpointSlice); ok && current == nil && c.tracker.Has(slice) {
		c.tracker.HandleDeletion(slice)
	}
	return keys
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.triggers.DeleteService(namespace, name)
		c.reconciler.DeleteService(namespace, name)
		c.tracker.DeleteService(namespace, name)
		return nil // its slices go with it, by their owner reference
	}
	if err != nil || service.Spec.Type == v1.ServiceTypeExternalName || service.Spec.Selector == nil {
		return err
	}
	pods, err := c.pods.Pods(namespace).List(labels.Set(service.Spec.Selector).AsSelectorPreValidated())
	if err != nil {
		return err
	}
	existing, err := c.existing(service)
	if err != nil {
		return err
	}
	if c.tracker.StaleSlices(service, existing) {
		return nil // the event of our own write is on its way
	}
	since := c.triggers.ComputeEndpointLastChangeTriggerTime(namespace, service, pods)
	err = c.reconciler.Reconcile(klog.FromContext(ctx), service, pods, existing, since)
	if err != nil && ctx.Err() == nil && !apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		c.recorder.Eventf(service, v1.EventTypeWarning, "FailedToUpdateEndpointSlices",
			"Error updating Endpoint Slices for Service %s/%s: %v", namespace, name, err)
		return fmt.Errorf("slices of service %s: %w", key, err)
	}
	return nil
}

// existing slices of a service that are ours and stay.
func (c *controller) existing(service *v1.Service) ([]*discoveryv1.EndpointSlice, error) {
	ours := labels.Set{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: name}
	found, err := c.slices.EndpointSlices(service.Namespace).List(ours.AsSelectorPreValidated())
	return slices.DeleteFunc(found, func(s *discoveryv1.EndpointSlice) bool { return s.DeletionTimestamp != nil }), err
}
