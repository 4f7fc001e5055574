// Package resourcequota keeps the statuses of ResourceQuotas: what the objects
// of a namespace use in all. Admission refuses what would be too much, and counts
// what it lets in; here the sum is made right when objects give something back.
package resourcequota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	library "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/kit/quota"
)

// Times at which a sum is made again without an event: kinds that nobody watches
// tell nothing.
const (
	resync          = 5 * time.Minute
	resyncUnwatched = 10 * time.Second
)

// Config is what the controller works with.
type Config struct {
	Client    kubernetes.Interface
	Metadata  metadata.Interface
	Informers informers.SharedInformerFactory
	Clock     clock.PassiveClock
	// Shared gives the informer of a resource that the process caches anyway, or nil.
	Shared func(schema.GroupVersionResource) cache.SharedIndexInformer
	// Watched are the resources whose informers wake the controller.
	Watched []schema.GroupVersionResource
}

type controller struct {
	Config
	quotas   listers.ResourceQuotaLister
	pods     listers.PodLister
	services listers.ServiceLister
	claims   listers.PersistentVolumeClaimLister
	served   sync.Map // of GroupResource: the version that unwatched kinds are counted in
	loop     *reconcile.Loop
}

// New watches quotas and what they count.
func New(config Config) (*reconcile.Loop, error) {
	core := config.Informers.Core().V1()
	c := &controller{
		Config: config, quotas: core.ResourceQuotas().Lister(), pods: core.Pods().Lister(), services: core.Services().Lister(),
		claims: core.PersistentVolumeClaims().Lister(),
	}
	c.loop = reconcile.New("resourcequota", 2, c.reconcile)
	failed := []error{
		c.loop.WatchChanges(core.ResourceQuotas().Informer(), asked),
		c.loop.WatchChanges(core.Pods().Informer(), freed(c, func(p *v1.Pod) v1.ResourceList { return quota.Pod(p, c.Clock.Now()) })),
		c.loop.WatchChanges(core.Services().Informer(), freed(c, quota.Service)),
		c.loop.WatchChanges(core.PersistentVolumeClaims().Informer(), freed(c, quota.Claim)),
	}
	for _, r := range config.Watched {
		informer := config.Shared(r)
		if informer == nil {
			continue
		}
		failed = append(failed, c.loop.WatchChanges(informer, c.went))
	}
	return c.loop, errors.Join(failed...)
}

// quotasOf the namespace of an object.
func (c *controller) quotasOf(o any) (keys []string) {
	object, ok := o.(metav1.Object)
	if !ok {
		return nil
	}
	quotas, err := c.quotas.ResourceQuotas(object.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, q := range quotas {
		keys = append(keys, q.Namespace+"/"+q.Name)
	}
	return keys
}

// went wakes the quotas of an object that is gone.
func (c *controller) went(old, current any) []string {
	if current != nil {
		return nil
	}
	return c.quotasOf(old)
}

// freed wakes the quotas of objects that count for less than before.
func freed[T metav1.Object](c *controller, count func(T) v1.ResourceList) func(old, current any) []string {
	return func(old, current any) []string {
		before, had := old.(T)
		now, has := current.(T)
		switch {
		case !had:
			return nil
		case has && !lower(count(before), count(now)) && before.GetDeletionTimestamp().Equal(now.GetDeletionTimestamp()):
			return nil
		}
		return c.quotasOf(before)
	}
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	q, err := c.quotas.ResourceQuotas(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	used, unwatched, err := c.sum(ctx, q)
	if err != nil {
		return fmt.Errorf("sum up for quota %s: %w", key, err)
	}
	after := resync
	if unwatched {
		after = resyncUnwatched
	}
	c.loop.After(key, after)
	status := v1.ResourceQuotaStatus{Hard: q.Spec.Hard, Used: used}
	if equality.Semantic.DeepEqual(q.Status, status) {
		return nil
	}
	now := q.DeepCopy()
	now.Status = status
	_, err = c.Client.CoreV1().ResourceQuotas(namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sum up what a quota limits. unwatched says that a kind was counted of which no
// events come.
func (c *controller) sum(ctx context.Context, q *v1.ResourceQuota) (used v1.ResourceList, unwatched bool, err error) {
	used = v1.ResourceList{}
	pods, err := c.pods.Pods(q.Namespace).List(labels.Everything())
	if err != nil {
		return nil, false, err
	}
	for _, p := range pods {
		if quota.MatchesPod(q, p) {
			used = library.Add(used, quota.Pod(p, c.Clock.Now()))
		}
	}
	claims, err := c.claims.PersistentVolumeClaims(q.Namespace).List(labels.Everything())
	if err != nil {
		return nil, false, err
	}
	for _, p := range claims {
		if quota.MatchesClaim(q, p) {
			used = library.Add(used, quota.Claim(p))
		}
	}
	if len(quota.Scopes(q)) == 0 {
		if used, unwatched, err = c.addOthers(ctx, q, used); err != nil {
			return nil, false, err
		}
	}
	limited := v1.ResourceList{}
	for name := range q.Spec.Hard {
		n, has := used[name]
		if !has {
			n = resource.Quantity{Format: resource.DecimalSI}
		}
		limited[name] = n
	}
	return limited, unwatched, nil
}

func (c *controller) addOthers(ctx context.Context, q *v1.ResourceQuota, used v1.ResourceList) (_ v1.ResourceList, unwatched bool, err error) {
	services, err := c.services.Services(q.Namespace).List(labels.Everything())
	if err != nil {
		return nil, false, err
	}
	for _, s := range services {
		used = library.Add(used, quota.Service(s))
	}
	for name := range q.Spec.Hard {
		counted, is := quota.ObjectCount(name)
		if _, done := used[name]; !is || done {
			continue
		}
		n, watched, err := c.count(ctx, q.Namespace, schema.GroupResource(counted))
		if err != nil {
			return nil, false, err
		}
		used[name] = *resource.NewQuantity(n, resource.DecimalSI)
		unwatched = unwatched || !watched
	}
	return used, unwatched, nil
}

// count the objects of a kind, from a cache if there is one.
func (c *controller) count(ctx context.Context, namespace string, gr schema.GroupResource) (n int64, watched bool, err error) {
	for _, r := range c.Watched {
		if informer := c.Shared(r); r.GroupResource() == gr && informer != nil {
			keys, err := informer.GetIndexer().IndexKeys(cache.NamespaceIndex, namespace)
			return int64(len(keys)), true, err
		}
	}
	served, err := c.version(gr)
	if err != nil || served.Empty() {
		return 0, false, err
	}
	list, err := c.Metadata.Resource(served).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		c.served.Delete(gr) // it may come back in another version
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	n = int64(len(list.Items))
	if list.RemainingItemCount != nil {
		n += *list.RemainingItemCount
	}
	return n, false, nil
}

// version in which a kind is served; empty if it is not.
func (c *controller) version(gr schema.GroupResource) (schema.GroupVersionResource, error) {
	if found, known := c.served.Load(gr); known {
		return found.(schema.GroupVersionResource), nil
	}
	lists, err := c.Client.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return schema.GroupVersionResource{}, err
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || gv.Group != gr.Group {
			continue
		}
		for _, r := range list.APIResources {
			if r.Name == gr.Resource && r.Namespaced {
				c.served.Store(gr, gv.WithResource(gr.Resource))
				return gv.WithResource(gr.Resource), nil
			}
		}
	}
	return schema.GroupVersionResource{}, nil
}
