package garbage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/lru"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

const (
	workers = 6
	// discover is the key of the look at which kinds there are.
	discover = "kinds"
	// absentOwners are remembered, so that many dependents cost one question.
	absentOwners = 500
	// unwatchedOwner is when an object is looked at again whose owner exists but
	// is of a kind that cannot be watched.
	unwatchedOwner = 30 * time.Second
	rediscover     = 5 * time.Minute
	// patience with kinds that cannot be listed, such as those of a broken webhook.
	patience = 30 * time.Second
)

// afterNewKind are the times at which the kinds are looked at after a CRD or
// APIService has changed: they are served a little later.
var afterNewKind = []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}

// makesKinds are the resources that bring new kinds.
var makesKinds = map[schema.GroupResource]bool{
	{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: true,
	{Group: "apiregistration.k8s.io", Resource: "apiservices"}:             true,
}

// Component that events are from.
const Component = "garbage-collector-controller"

// Config is what the collector works with.
type Config struct {
	Discovery discovery.ServerResourcesInterface
	Metadata  metadata.Interface
	Recorder  record.EventRecorder
	// Shared gives the informer of a resource that the process caches anyway, or nil.
	Shared func(schema.GroupVersionResource) cache.SharedIndexInformer
}

type collector struct {
	Config
	graph  *graph
	absent *lru.Cache // of identity
	loop   *reconcile.Loop

	mu       sync.Mutex
	kinds    map[schema.GroupKind]kind
	monitors map[schema.GroupVersionKind]*monitor
	all      context.Context // of the monitors
	running  sync.WaitGroup
	complete bool // every monitor has delivered what there is
	since    time.Time
}

// New makes the collector.
func New(config Config) (*reconcile.Loop, error) {
	c := &collector{
		Config: config, graph: newGraph(), absent: lru.New(absentOwners),
		kinds: map[schema.GroupKind]kind{}, monitors: map[schema.GroupVersionKind]*monitor{},
	}
	c.loop = reconcile.New("garbage", workers, c.reconcile)
	c.loop.Beside(c.run)
	return c.loop, nil
}

// run holds the monitors for as long as the loop runs.
func (c *collector) run(ctx context.Context) {
	c.mu.Lock()
	c.all, c.since = ctx, time.Now()
	c.mu.Unlock()
	c.loop.Add(discover)
	<-ctx.Done()
	c.mu.Lock()
	for _, m := range c.monitors {
		m.stop()
	}
	c.mu.Unlock()
	c.running.Wait()
}

func (c *collector) reconcile(ctx context.Context, key string) error {
	if key == discover {
		return c.discover()
	}
	if !c.isComplete() {
		c.loop.After(key, 20*time.Millisecond) // only while starting
		return nil
	}
	return c.look(ctx, types.UID(key))
}

// isComplete says that the graph holds all that there is. Before that, a missing
// dependent could be taken for none.
func (c *collector) isComplete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complete {
		return true
	}
	for _, m := range c.monitors {
		if !m.synced() && time.Since(c.since) < patience {
			return false
		}
	}
	c.complete = len(c.monitors) > 0
	return c.complete
}

// discover starts and stops monitors, so that there is one for every kind.
func (c *collector) discover() error {
	lists, failure := c.Discovery.ServerPreferredResources()
	if failure != nil && !discovery.IsGroupDiscoveryFailedError(failure) {
		return fmt.Errorf("discover the API's kinds: %w", failure)
	}
	now := kindsOf(lists)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || c.all.Err() != nil {
		return nil
	}
	if failure != nil { // a group that does not answer now keeps its kinds
		for gk, k := range c.kinds {
			if _, found := now[gk]; !found {
				now[gk] = k
			}
		}
	}
	c.kinds = now
	wanted := map[schema.GroupVersionKind]bool{}
	var failed []error
	for _, k := range now {
		if !k.watched {
			continue
		}
		wanted[k.kind] = true
		if c.monitors[k.kind] == nil {
			failed = append(failed, c.start(k))
		}
	}
	for gvk, m := range c.monitors {
		if !wanted[gvk] {
			m.stop()
			delete(c.monitors, gvk)
		}
	}
	c.loop.After(discover, rediscover)
	return errors.Join(failed...)
}

func (c *collector) start(k kind) error {
	if informer := c.Shared(k.resource); informer != nil {
		m, err := watchShared(informer, k, c)
		if err != nil {
			return err
		}
		c.monitors[k.kind] = m
		return nil
	}
	c.running.Add(1)
	c.monitors[k.kind] = watchMetadata(c.all, c.Metadata, k, c, c.running.Done)
	return nil
}

var _ feed = (*collector)(nil)

func (c *collector) seen(k kind, o metav1.Object) {
	id := identity{kind: k.kind, namespace: o.GetNamespace(), name: o.GetName(), uid: o.GetUID()}
	c.enqueue(c.graph.observe(object{identity: id, owners: o.GetOwnerReferences(), phase: phaseOf(o)}))
	if makesKinds[k.resource.GroupResource()] {
		c.kindsChanged()
	}
}

func (c *collector) kindsChanged() {
	for _, d := range afterNewKind {
		c.loop.After(discover, d)
	}
}

func (c *collector) gone(uid types.UID) {
	v, known := c.graph.view(uid)
	if !known {
		return
	}
	look, wasOwner := c.graph.gone(uid)
	if wasOwner {
		c.absent.Add(v.object.identity, nil)
	}
	c.enqueue(look)
	if v.object.kind.Kind == "CustomResourceDefinition" || v.object.kind.Kind == "APIService" {
		c.kindsChanged()
	}
}

func (c *collector) only(k kind, uids map[types.UID]bool) {
	for _, uid := range c.graph.ofKind(k.kind) {
		if !uids[uid] {
			c.gone(uid)
		}
	}
}

func (c *collector) enqueue(uids []types.UID) {
	for _, uid := range uids {
		c.loop.Add(string(uid))
	}
}

// look at one object.
func (c *collector) look(ctx context.Context, uid types.UID) error {
	v, known := c.graph.view(uid)
	if !known {
		return nil
	}
	switch v.object.phase {
	case orphaning:
		return c.orphan(ctx, v)
	case emptying:
		look, done := empty(v.object, v.dependents)
		if done {
			return c.removeFinalizer(ctx, v.object.identity, metav1.FinalizerDeleteDependents)
		}
		c.enqueue(look)
		return nil
	case leaving:
		return nil
	}
	return c.judge(ctx, v)
}

// judge decides over an object by its owners, and acts.
func (c *collector) judge(ctx context.Context, v view) error {
	if !c.graph.isDoubtful(v.object) {
		return nil // its owners were seen meanwhile
	}
	live, err := c.get(ctx, v.object.identity)
	if apierrors.IsNotFound(err) || err == nil && live.UID != v.object.uid {
		return nil // the watch will say so too
	}
	if err != nil {
		return err
	}
	if live.DeletionTimestamp != nil {
		return nil
	}
	owners, err := c.owners(ctx, v.object.identity, live.OwnerReferences)
	if errors.Is(err, errUnresolvable) {
		return nil
	}
	if err != nil {
		return err
	}
	verdict := judge(live.Finalizers, owners, v.dependents)
	if len(verdict.drop) > 0 {
		return c.setOwners(ctx, v.object.identity, func(refs []metav1.OwnerReference) []metav1.OwnerReference { return without(refs, verdict.drop) })
	}
	if verdict.unblock {
		if err := c.setOwners(ctx, v.object.identity, unblocking); err != nil {
			return err
		}
		live.ResourceVersion = ""
	}
	if verdict.remove != nil {
		slog.Debug("Deleting what lost its owners", "kind", v.object.kind.Kind, "namespace", v.object.namespace, "name", v.object.name)
		return c.remove(ctx, v.object.identity, live, *verdict.remove)
	}
	return nil
}

// errUnresolvable is a reference of a cluster's object to one in some namespace.
var errUnresolvable = errors.New("a cluster-scoped object cannot have a namespaced owner")

func (c *collector) owners(ctx context.Context, dependent identity, refs []metav1.OwnerReference) ([]owner, error) {
	owners := make([]owner, 0, len(refs))
	for _, ref := range refs {
		state, err := c.state(ctx, dependent, ref)
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner{ref, state})
	}
	return owners, nil
}

// state of an owner: what the graph knows, else what the API server says.
func (c *collector) state(ctx context.Context, dependent identity, ref metav1.OwnerReference) (ownerState, error) {
	if p, known := c.graph.ownerInGraph(ref, dependent.namespace); known {
		if p == emptying {
			return departed, nil
		}
		return there, nil // also while leaving: its end will be seen
	}
	means := identity{kind: schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind), namespace: dependent.namespace, name: ref.Name, uid: ref.UID}
	cluster := means
	cluster.namespace = ""
	for _, id := range []identity{means, cluster} {
		if _, isAbsent := c.absent.Get(id); isAbsent {
			return absent, nil
		}
	}
	live, err := c.get(ctx, means)
	switch {
	case apierrors.IsNotFound(err) || err == nil && live.UID != ref.UID:
		c.absent.Add(means, nil)
		c.reportNamespace(dependent, ref)
		return absent, nil
	case err != nil:
		return 0, err
	}
	c.loop.After(string(dependent.uid), unwatchedOwner)
	if phaseOf(live) == emptying {
		return departed, nil
	}
	return there, nil
}

// reportNamespace warns about a reference to an owner in another namespace.
func (c *collector) reportNamespace(dependent identity, ref metav1.OwnerReference) {
	o, known := c.graph.view(ref.UID)
	if !known || o.object.namespace == "" || o.object.namespace == dependent.namespace {
		return
	}
	apiVersion, kind := dependent.kind.ToAPIVersionAndKind()
	about := &v1.ObjectReference{Kind: kind, APIVersion: apiVersion, Namespace: dependent.namespace, Name: dependent.name, UID: dependent.uid}
	c.Recorder.Eventf(about, v1.EventTypeWarning, "OwnerRefInvalidNamespace", "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace %q",
		ref.APIVersion, ref.Kind, dependent.namespace, ref.Name, ref.UID, dependent.namespace)
}

// orphan sets the dependents of an owner free, and then lets it go.
func (c *collector) orphan(ctx context.Context, v view) error {
	var failed []error
	drop := []types.UID{v.object.uid}
	for _, d := range v.dependents {
		err := c.setOwners(ctx, d.identity, func(refs []metav1.OwnerReference) []metav1.OwnerReference { return without(refs, drop) })
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("orphan the dependents of %s %s: %w", v.object.kind.Kind, v.object.name, err)
	}
	return c.removeFinalizer(ctx, v.object.identity, metav1.FinalizerOrphanDependents)
}
