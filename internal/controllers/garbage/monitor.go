package garbage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// monitor feeds the graph with the objects of one kind.
type monitor struct {
	kind   kind
	synced func() bool
	stop   func()
}

// feed is where monitors deliver.
type feed interface {
	seen(kind kind, o metav1.Object)
	gone(uid types.UID)
	only(kind kind, uids map[types.UID]bool) // all that there are after a list
}

// watchMetadata follows a kind and keeps nothing. It ends with stop, having
// called done.
func watchMetadata(ctx context.Context, client metadata.Interface, k kind, f feed, done func()) *monitor {
	ctx, cancel := context.WithCancel(ctx)
	s := &sink{kind: k, feed: f}
	objects := client.Resource(k.resource)
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return objects.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return objects.Watch(ctx, o)
		},
	}, client)
	reflector := cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, s, cache.ReflectorOptions{Name: "garbage/" + k.resource.Resource})
	go func() {
		defer done()
		reflector.RunWithContext(ctx)
	}()
	return &monitor{kind: k, synced: s.synced.Load, stop: cancel}
}

// watchShared follows a kind through an informer that exists anyway.
func watchShared(informer cache.SharedIndexInformer, k kind, f feed) (*monitor, error) {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.seen(k, o.(metav1.Object)) },
		UpdateFunc: func(_, o any) { f.seen(k, o.(metav1.Object)) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			if object, ok := o.(metav1.Object); ok {
				f.gone(object.GetUID())
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", k.resource.Resource, err)
	}
	stop := func() { _ = informer.RemoveEventHandler(registration) }
	return &monitor{kind: k, synced: registration.HasSynced, stop: stop}, nil
}

// sink is the store of a reflector that stores nothing.
type sink struct {
	kind   kind
	feed   feed
	synced atomic.Bool
}

var _ cache.ReflectorStore = (*sink)(nil)

var errNoObject = errors.New("not an object with metadata")

func (s *sink) Add(o any) error {
	object, ok := o.(metav1.Object)
	if !ok {
		return errNoObject
	}
	s.feed.seen(s.kind, object)
	return nil
}

func (s *sink) Update(o any) error { return s.Add(o) }

func (s *sink) Delete(o any) error {
	object, ok := o.(metav1.Object)
	if !ok {
		return errNoObject
	}
	s.feed.gone(object.GetUID())
	return nil
}

func (s *sink) Replace(list []any, _ string) error {
	uids := make(map[types.UID]bool, len(list))
	for _, o := range list {
		if err := s.Add(o); err != nil {
			return err
		}
		uids[o.(metav1.Object).GetUID()] = true
	}
	s.feed.only(s.kind, uids)
	s.synced.Store(true)
	return nil
}

func (s *sink) Resync() error { return nil }
