// Package namespace empties namespaces that are being deleted, and then lets
// them go.
//
//	Active ──deleted──▶ Terminating ──nothing left──▶ finalizer removed, gone
//	                     │        ▲
//	                     └─ retry ┘  (conditions say what is left)
package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// again is how soon a namespace with content left is looked at again: pods take
// their grace to end.
const again = 250 * time.Millisecond

type controller struct {
	client   kubernetes.Interface
	metadata metadata.Interface
	clock    clock.PassiveClock
	loop     *reconcile.Loop
}

// New watches namespaces.
func New(client kubernetes.Interface, objects metadata.Interface, factory informers.SharedInformerFactory, clock clock.PassiveClock) (*reconcile.Loop, error) {
	c := &controller{client: client, metadata: objects, clock: clock}
	namespaces := factory.Core().V1().Namespaces()
	c.loop = reconcile.New("namespace", 4, func(ctx context.Context, key string) error {
		ns, err := namespaces.Lister().Get(key)
		if apierrors.IsNotFound(err) || err == nil && ns.DeletionTimestamp == nil {
			return nil
		}
		if err != nil {
			return err
		}
		return c.empty(ctx, ns.DeepCopy())
	})
	return c.loop, c.loop.Watch(namespaces.Informer(), nil)
}

func (c *controller) empty(ctx context.Context, ns *v1.Namespace) error {
	if !slices.Contains(ns.Spec.Finalizers, v1.FinalizerKubernetes) {
		return nil // on its way; other finalizers are other people's
	}
	left, failures := c.deleteContent(ctx, ns)
	total := 0
	for _, r := range left {
		total += r.count
	}
	if total == 0 && len(failures) == 0 {
		return c.finalize(ctx, ns)
	}
	c.loop.After(ns.Name, again)
	return c.report(ctx, ns, conditions(left, failures))
}

// deleteContent deletes what can be deleted and counts what is still there. A stage
// waits until nothing of the one before it is left.
func (c *controller) deleteContent(ctx context.Context, ns *v1.Namespace) (left []remaining, failures []string) {
	lists, err := c.client.Discovery().ServerPreferredResources()
	if err != nil {
		failures = append(failures, err.Error())
		if !discovery.IsGroupDiscoveryFailedError(err) {
			return nil, failures
		}
	}
	for _, stage := range stages(deletable(lists)) {
		held := false
		for _, resource := range stage {
			r, err := c.deleteAll(ctx, ns.Name, resource)
			if err != nil {
				failures = append(failures, fmt.Sprintf("%s: %v", name(resource), err))
			}
			left = append(left, r)
			held = held || err != nil || r.count > 0
		}
		if held {
			break
		}
	}
	return left, failures
}

func (c *controller) deleteAll(ctx context.Context, namespace string, resource schema.GroupVersionResource) (remaining, error) {
	r := remaining{resource: resource, finalizers: map[string]int{}}
	objects := c.metadata.Resource(resource).Namespace(namespace)
	list, err := objects.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	var failed []error
	background := metav1.DeletePropagationBackground
	for _, o := range list.Items {
		r.count++
		for _, f := range o.Finalizers {
			r.finalizers[f]++
		}
		if o.DeletionTimestamp != nil {
			continue
		}
		err := objects.Delete(ctx, o.Name, metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(o.UID))})
		switch {
		case apierrors.IsNotFound(err):
			r.count--
		case err != nil && !apierrors.IsConflict(err):
			failed = append(failed, err)
		}
	}
	if r.count > 0 { // what had no finalizer and no grace is gone by now
		if list, err = objects.List(ctx, metav1.ListOptions{}); err == nil {
			r.count = len(list.Items)
		}
	}
	return r, errors.Join(failed...)
}

func (c *controller) finalize(ctx context.Context, ns *v1.Namespace) error {
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f v1.FinalizerName) bool { return f == v1.FinalizerKubernetes })
	_, err := c.client.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// report writes the conditions if they say anything new.
func (c *controller) report(ctx context.Context, ns *v1.Namespace, want []v1.NamespaceCondition) error {
	changed := false
	for _, w := range want {
		i := slices.IndexFunc(ns.Status.Conditions, func(h v1.NamespaceCondition) bool { return h.Type == w.Type })
		switch {
		case i < 0:
			w.LastTransitionTime = metav1.NewTime(c.clock.Now())
			ns.Status.Conditions = append(ns.Status.Conditions, w)
			changed = true
		case ns.Status.Conditions[i].Status != w.Status || ns.Status.Conditions[i].Message != w.Message:
			if w.LastTransitionTime = ns.Status.Conditions[i].LastTransitionTime; ns.Status.Conditions[i].Status != w.Status {
				w.LastTransitionTime = metav1.NewTime(c.clock.Now())
			}
			ns.Status.Conditions[i] = w
			changed = true
		}
	}
	if !changed {
		return nil
	}
	_, err := c.client.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // looked at again soon
	}
	return err
}

func instances(n int) string { return count(n) + " resource instances" }
func count(n int) string     { return strconv.Itoa(n) }
