// Package reconcile is the loop that all controllers share: keys go in when
// objects change, one function brings a key's object to its goal, failures are
// tried again with back-off.
package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Back-off of a key that fails.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Func brings one object, named by namespace/name, to its goal. Called again
// later if it fails; never twice at once for one key.
type Func func(ctx context.Context, key string) error

// Loop runs a Func over the keys put into it.
type Loop struct {
	Name    string
	do      Func
	workers int
	queue   workqueue.TypedRateLimitingInterface[string]
	synced  []cache.InformerSynced
	beside  []func(context.Context)
}

// New makes a loop with that many workers.
func New(name string, workers int, do Func) *Loop {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)
	return &Loop{Name: name, do: do, workers: workers, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// Add asks for a key to be reconciled.
func (l *Loop) Add(key string) { l.queue.Add(key) }

// After asks for it later.
func (l *Loop) After(key string, d time.Duration) { l.queue.AddAfter(key, d) }

// Watch feeds the loop with the keys that an informer's objects stand for: an
// object's own key when keys is nil. It must be called before Run.
func (l *Loop) Watch(informer cache.SharedIndexInformer, keys func(object any) []string) error {
	if keys == nil {
		keys = own
	}
	return l.WatchChanges(informer, func(old, current any) []string {
		if current == nil {
			return keys(old)
		}
		return keys(current)
	})
}

// WatchChanges is Watch for those that need to know what changed: old is nil for
// a new object, current is nil for one that is gone.
func (l *Loop) WatchChanges(informer cache.SharedIndexInformer, keys func(old, current any) []string) error {
	add := func(old, current any) {
		for _, k := range keys(old, current) {
			l.queue.Add(k)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { add(nil, o) },
		UpdateFunc: add,
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			add(o, nil)
		},
	})
	if err != nil {
		return fmt.Errorf("%s controller: %w", l.Name, err)
	}
	l.synced = append(l.synced, registration.HasSynced)
	return nil
}

// Needs makes Run wait for an informer that feeds no keys but is read.
func (l *Loop) Needs(informer cache.SharedIndexInformer) {
	l.synced = append(l.synced, informer.HasSynced)
}

// Beside runs a function as long as the loop runs; Run returns after it has
// returned.
func (l *Loop) Beside(run func(ctx context.Context)) { l.beside = append(l.beside, run) }

func own(o any) []string {
	key, err := cache.MetaNamespaceKeyFunc(o)
	if err != nil {
		return nil
	}
	return []string{key}
}

// Run works until ctx ends and its workers have returned.
func (l *Loop) Run(ctx context.Context) error {
	unhook := context.AfterFunc(ctx, l.queue.ShutDown)
	defer unhook()
	var workers sync.WaitGroup
	defer workers.Wait()
	for _, run := range l.beside {
		workers.Go(func() { run(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), l.synced...) {
		return nil
	}
	for range l.workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	return nil
}

func (l *Loop) next(ctx context.Context) bool {
	key, shutdown := l.queue.Get()
	if shutdown {
		return false
	}
	defer l.queue.Done(key)
	switch err := l.do(ctx, key); {
	case err == nil:
		l.queue.Forget(key)
	case apierrors.IsConflict(err): // somebody else was faster, which is no failure
		l.queue.AddRateLimited(key)
	case ctx.Err() == nil:
		slog.Warn("Reconciling failed", "controller", l.Name, "key", key, "err", err)
		l.queue.AddRateLimited(key)
	}
	return true
}
