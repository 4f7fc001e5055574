// Package endpoints keeps the Endpoints objects of services with a selector, the
// older form of EndpointSlices, which some clients still read.
package endpoints

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/endpointslice/util"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "endpoint-controller"

type controller struct {
	client    kubernetes.Interface
	services  listers.ServiceLister
	pods      listers.PodLister
	endpoints listers.EndpointsLister
	triggers  *util.TriggerTimeTracker
	recorder  record.EventRecorder
}

// New watches services, pods and endpoints. podServices gives the services that
// a pod's change concerns.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder,
	podServices func(old, current any) []string,
) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	c := &controller{
		client:    client,
		services:  core.Services().Lister(),
		pods:      core.Pods().Lister(),
		endpoints: core.Endpoints().Lister(),
		triggers:  util.NewTriggerTimeTracker(),
		recorder:  recorder,
	}
	loop := reconcile.New("endpoints", 2, c.reconcile)
	if err := loop.Watch(core.Services().Informer(), nil); err != nil {
		return nil, err
	}
	if err := loop.WatchChanges(core.Pods().Informer(), podServices); err != nil {
		return nil, err
	}
	return loop, loop.Watch(core.Endpoints().Informer(), ours)
}

// ours leaves out objects made by hand, which may well come before their service.
func ours(o any) []string {
	if e := o.(*v1.Endpoints); e.Labels[managedBy] == name {
		return []string{e.Namespace + "/" + e.Name}
	}
	return nil
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.triggers.DeleteService(namespace, name)
		return c.remove(ctx, namespace, name)
	}
	if err != nil || service.Spec.Type == v1.ServiceTypeExternalName || service.Spec.Selector == nil {
		return err
	}
	pods, err := c.pods.Pods(namespace).List(labels.Set(service.Spec.Selector).AsSelectorPreValidated())
	if err != nil {
		return err
	}
	have, err := c.endpoints.Endpoints(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		have, err = &v1.Endpoints{}, nil
	}
	if err != nil {
		return err
	}
	since := c.triggers.ComputeEndpointLastChangeTriggerTime(namespace, service, pods)
	want := desired(service, have, plan(service, pods))
	if have.ResourceVersion != "" && same(have, want) {
		return nil
	}
	stamp(want, since)
	return c.write(ctx, service, want)
}

func stamp(want *v1.Endpoints, since time.Time) {
	delete(want.Annotations, v1.EndpointsLastChangeTriggerTime)
	if since.IsZero() {
		return
	}
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[v1.EndpointsLastChangeTriggerTime] = since.UTC().Format(time.RFC3339Nano)
}

func (c *controller) write(ctx context.Context, service *v1.Service, want *v1.Endpoints) error {
	objects := c.client.CoreV1().Endpoints(want.Namespace)
	reason, did := "FailedToUpdateEndpoint", fmt.Sprintf("Failed to update endpoint %v/%v", service.Namespace, service.Name)
	write := func() error { _, err := objects.Update(ctx, want, metav1.UpdateOptions{}); return err }
	if want.ResourceVersion == "" {
		reason, did = "FailedToCreateEndpoint", fmt.Sprintf("Failed to create endpoint for service %v/%v", service.Namespace, service.Name)
		write = func() error { _, err := objects.Create(ctx, want, metav1.CreateOptions{}); return err }
	}
	err := write()
	switch {
	case err == nil, ctx.Err() != nil, apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
		return nil // the cache is behind; its event is on the way
	}
	c.recorder.Event(want, v1.EventTypeWarning, reason, did+": "+err.Error())
	return err
}

// remove takes away the object of a service that is gone. One that holds a lock
// of the old kind of leader election never had a service.
func (c *controller) remove(ctx context.Context, namespace, name string) error {
	have, err := c.endpoints.Endpoints(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && have.Annotations["control-plane.alpha.kubernetes.io/leader"] != "" {
		return nil
	}
	if err != nil {
		return err
	}
	err = c.client.CoreV1().Endpoints(namespace).Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
