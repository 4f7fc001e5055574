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
	add := func(o any) {
		if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = tombstone.Obj
		}
		for _, k := range keys(o) {
			l.queue.Add(k)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, o any) { add(o) },
		DeleteFunc: add,
	})
	if err != nil {
		return fmt.Errorf("%s controller: %w", l.Name, err)
	}
	l.synced = append(l.synced, registration.HasSynced)
	return nil
}

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
	if !cache.WaitForCacheSync(ctx.Done(), l.synced...) {
		return nil
	}
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	workers.Wait()
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
	case ctx.Err() == nil:
		slog.Warn("Reconciling failed", "controller", l.Name, "key", key, "err", err)
		l.queue.AddRateLimited(key)
	}
	return true
}
