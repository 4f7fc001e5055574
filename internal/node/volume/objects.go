package volume

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// objects keeps the latest state of just those API objects that pods of this node use: one watch an object, narrowed by a
// field selector (a node may not list all secrets of the cluster), shared by reference counting.
type objects struct {
	client kubernetes.Interface
	// changed is told of every change of a held object; it must not block.
	changed func(Ref)

	mu    sync.Mutex
	held  map[Ref]*slot
	tasks sync.WaitGroup
}

func newObjects(client kubernetes.Interface, changed func(Ref)) *objects {
	return &objects{client: client, changed: changed, held: map[Ref]*slot{}}
}

// hold counts one more user of ref and starts watching it with the first.
func (o *objects) hold(ref Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.held[ref]; s != nil {
		s.users++
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &slot{ref: ref, users: 1, cancel: cancel, changed: o.changed, items: map[string]runtime.Object{}}
	o.held[ref] = s
	o.tasks.Go(func() { o.watch(ctx, s) })
}

// release drops one user of ref; the last one ends the watch.
func (o *objects) release(ref Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.held[ref]
	if s == nil {
		return
	}
	s.users--
	if s.users == 0 {
		s.cancel()
		delete(o.held, ref)
	}
}

// close ends all watches and waits for them.
func (o *objects) close() {
	o.mu.Lock()
	for ref, s := range o.held {
		s.cancel()
		delete(o.held, ref)
	}
	o.mu.Unlock()
	o.tasks.Wait()
}

// fetch reads ref from the API server itself: a pod that was made right after its ConfigMap must see it, wherever the watch
// has got to.
func (o *objects) fetch(ctx context.Context, ref Ref) ([]runtime.Object, error) {
	found, err := o.read(ctx, ref)
	switch {
	case apierrors.IsNotFound(err):
		return nil, notFound(ref)
	case err != nil:
		return nil, err
	}
	if s := o.slot(ref); s != nil {
		return s.offer(found), nil
	}
	return found, nil
}

// latest returns what the watch of a held ref has brought; it falls back to fetch until the watch is up.
func (o *objects) latest(ctx context.Context, ref Ref) ([]runtime.Object, error) {
	if s := o.slot(ref); s != nil {
		if found, synced := s.state(); synced {
			if len(found) == 0 && ref.Kind != SignerBundles {
				return nil, notFound(ref)
			}
			return found, nil
		}
	}
	return o.fetch(ctx, ref)
}

func (o *objects) slot(ref Ref) *slot {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held[ref]
}

// notFound words a missing object as upstream's node agent does: `configmap "name" not found`.
func notFound(ref Ref) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: string(ref.Kind)}, ref.Name)
}

func (o *objects) read(ctx context.Context, ref Ref) ([]runtime.Object, error) {
	switch ref.Kind {
	case ConfigMap:
		obj, err := o.client.CoreV1().ConfigMaps(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		return []runtime.Object{obj}, err
	case Secret:
		obj, err := o.client.CoreV1().Secrets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		return []runtime.Object{obj}, err
	case ClusterTrustBundle:
		obj, err := o.client.CertificatesV1().ClusterTrustBundles().Get(ctx, ref.Name, metav1.GetOptions{})
		return []runtime.Object{obj}, err
	case SignerBundles:
		list, err := o.client.CertificatesV1().ClusterTrustBundles().List(ctx, metav1.ListOptions{FieldSelector: ref.selector()})
		if err != nil {
			return nil, err
		}
		return pointers(list.Items), nil
	}
	return nil, fmt.Errorf("volumes are not made of objects of kind %q", ref.Kind)
}

func pointers(items []certificatesv1.ClusterTrustBundle) []runtime.Object {
	out := make([]runtime.Object, 0, len(items))
	for i := range items {
		out = append(out, &items[i])
	}
	return out
}

func (r Ref) selector() string {
	if r.Kind == SignerBundles {
		return fields.OneTermEqualSelector("spec.signerName", r.Name).String()
	}
	return fields.OneTermEqualSelector(metav1.ObjectNameField, r.Name).String()
}

// watch follows one object until ctx ends, or forever holds its peace once the object says that it is immutable.
func (o *objects) watch(ctx context.Context, s *slot) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.onImmutable = stop
	source, kind := o.listWatch(s.ref)
	reflector := cache.NewReflectorWithOptions(source, kind, s, cache.ReflectorOptions{Name: "node/volume " + string(s.ref.Kind)})
	reflector.RunWithContext(ctx)
}

func (o *objects) listWatch(ref Ref) (cache.ListerWatcher, runtime.Object) {
	narrow := func(opts *metav1.ListOptions) { opts.FieldSelector = ref.selector() }
	switch ref.Kind {
	case ConfigMap:
		return listWatch(o.client, o.client.CoreV1().ConfigMaps(ref.Namespace), narrow), &v1.ConfigMap{}
	case Secret:
		return listWatch(o.client, o.client.CoreV1().Secrets(ref.Namespace), narrow), &v1.Secret{}
	default:
		return listWatch(o.client, o.client.CertificatesV1().ClusterTrustBundles(), narrow), &certificatesv1.ClusterTrustBundle{}
	}
}

// lister is the part of a typed client that a watch needs.
type lister[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// listWatch needs the set too: fakes say there that they don't stream lists.
func listWatch[L runtime.Object](set kubernetes.Interface, client lister[L], narrow func(*metav1.ListOptions)) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			narrow(&opts)
			return client.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			narrow(&opts)
			return client.Watch(ctx, opts)
		},
	}, set)
}

// slot is where a watch leaves what it brings: the store of a reflector, of one object (or those of one signer).
type slot struct {
	ref         Ref
	users       int
	cancel      context.CancelFunc
	onImmutable func()
	changed     func(Ref)

	mu     sync.Mutex
	synced bool
	items  map[string]runtime.Object
}

var _ cache.ReflectorStore = (*slot)(nil)

func (s *slot) state() ([]runtime.Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sorted(), s.synced
}

// sorted needs s.mu.
func (s *slot) sorted() []runtime.Object {
	keys := slices.SortedFunc(maps.Keys(s.items), cmp.Compare[string])
	out := make([]runtime.Object, 0, len(keys))
	for _, key := range keys {
		out = append(out, s.items[key])
	}
	return out
}

// offer brings objects that were read past the watch and returns the newer of both, object by object.
func (s *slot) offer(found []runtime.Object) []runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]runtime.Object, 0, len(found))
	for _, obj := range found {
		if have := s.items[nameOf(obj)]; have != nil && newer(have, obj) {
			obj = have
		}
		s.items[nameOf(obj)] = obj
		out = append(out, obj)
	}
	return out
}

func (s *slot) Add(obj any) error    { return s.put(obj) }
func (s *slot) Update(obj any) error { return s.put(obj) }
func (s *slot) Resync() error        { return nil }

// mine guards against servers (and fakes) that don't know a field selector.
func (s *slot) mine(obj any) (runtime.Object, bool) {
	object, ok := obj.(runtime.Object)
	return object, ok && (s.ref.Kind == SignerBundles || nameOf(object) == s.ref.Name)
}

func (s *slot) put(obj any) error {
	object, ok := s.mine(obj)
	if !ok {
		return nil
	}
	s.mu.Lock()
	// What was read past the watch may be ahead of it.
	stale := s.items[nameOf(object)] != nil && newer(s.items[nameOf(object)], object)
	if !stale {
		s.items[nameOf(object)] = object
	}
	s.mu.Unlock()
	if !stale {
		s.changed(s.ref)
	}
	if immutable(object) {
		s.onImmutable()
	}
	return nil
}

func (s *slot) Delete(obj any) error {
	object, ok := s.mine(obj)
	if !ok {
		return nil
	}
	s.mu.Lock()
	delete(s.items, nameOf(object))
	s.mu.Unlock()
	s.changed(s.ref)
	return nil
}

// Replace is the first sync, and each one after a broken watch.
func (s *slot) Replace(list []any, _ string) error {
	fresh := map[string]runtime.Object{}
	frozen := false
	for _, obj := range list {
		if object, ok := s.mine(obj); ok {
			fresh[nameOf(object)] = object
			frozen = frozen || immutable(object)
		}
	}
	s.mu.Lock()
	same := maps.EqualFunc(s.items, fresh, func(a, b runtime.Object) bool { return versionOf(a) == versionOf(b) })
	for name, have := range s.items {
		if now := fresh[name]; now != nil && newer(have, now) {
			fresh[name] = have
		}
	}
	s.items, s.synced = fresh, true
	s.mu.Unlock()
	if !same {
		s.changed(s.ref)
	}
	if frozen {
		s.onImmutable()
	}
	return nil
}

func nameOf(obj runtime.Object) string {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return accessor.GetName()
}

func versionOf(obj runtime.Object) string {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return accessor.GetResourceVersion()
}

func newer(a, b runtime.Object) bool {
	order, err := resourceversion.CompareResourceVersion(versionOf(a), versionOf(b))
	return err == nil && order > 0
}

func immutable(obj runtime.Object) bool {
	switch o := obj.(type) {
	case *v1.ConfigMap:
		return o.Immutable != nil && *o.Immutable
	case *v1.Secret:
		return o.Immutable != nil && *o.Immutable
	}
	return false
}
