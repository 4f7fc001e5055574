package reconcile

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Recent lays what a controller has just written over what its cache shows, so
// that a decision never counts an object twice or misses one because the watch
// is slower than the controller. Nothing waits, and nothing is forgotten too
// early: an object made is added until the cache has come as far as its
// resource version; one deleted counts as terminating until the cache says so.
type Recent[T metav1.Object] struct {
	cacheVersion func() string
	terminating  func(T) T // a copy that shows as being deleted

	mu     sync.Mutex
	owners map[types.UID]*writes[T]
}

type writes[T metav1.Object] struct {
	made    map[types.UID]T
	deleted map[types.UID]bool
}

// NewRecent needs the resource version that the cache has come to, and how a
// copy of an object that is being deleted looks.
func NewRecent[T metav1.Object](cacheVersion func() string, terminating func(T) T) *Recent[T] {
	return &Recent[T]{cacheVersion: cacheVersion, terminating: terminating, owners: map[types.UID]*writes[T]{}}
}

// Made notes an object as the API server returned it.
func (r *Recent[T]) Made(owner types.UID, object T) {
	r.note(owner, func(w *writes[T]) { w.made[object.GetUID()] = object })
}

// Deleted notes an object whose deletion the API server has accepted.
func (r *Recent[T]) Deleted(owner, object types.UID) {
	r.note(owner, func(w *writes[T]) { w.deleted[object] = true })
}

func (r *Recent[T]) note(owner types.UID, change func(*writes[T])) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.owners[owner]
	if w == nil {
		w = &writes[T]{made: map[types.UID]T{}, deleted: map[types.UID]bool{}}
		r.owners[owner] = w
	}
	change(w)
}

// List is what the cache lists for an owner, with what was written laid over it.
func (r *Recent[T]) List(owner types.UID, list func() ([]T, error)) ([]T, error) {
	at := r.cacheVersion() // before the list: what is older is in it
	objects, err := list()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.owners[owner]
	if w == nil {
		return objects, nil
	}
	objects = r.overlay(w, at, objects)
	if len(w.made) == 0 && len(w.deleted) == 0 {
		delete(r.owners, owner)
	}
	return objects, nil
}

func (r *Recent[T]) overlay(w *writes[T], at string, cached []T) []T {
	objects := make([]T, 0, len(cached)+len(w.made))
	listed := make(map[types.UID]bool, len(cached))
	for _, o := range cached {
		listed[o.GetUID()] = true
		delete(w.made, o.GetUID())
		if w.deleted[o.GetUID()] {
			if o.GetDeletionTimestamp() != nil {
				delete(w.deleted, o.GetUID())
			} else {
				o = r.terminating(o)
			}
		}
		objects = append(objects, o)
	}
	for uid, o := range w.made {
		if older, err := resourceversion.CompareResourceVersion(at, o.GetResourceVersion()); err != nil || older >= 0 {
			delete(w.made, uid) // the cache has seen it, and its end
			continue
		}
		if w.deleted[uid] {
			o = r.terminating(o)
		}
		objects = append(objects, o)
	}
	for uid := range w.deleted {
		if _, made := w.made[uid]; !made && !listed[uid] {
			delete(w.deleted, uid)
		}
	}
	return objects
}

// Forget drops what is held for an owner that is gone.
func (r *Recent[T]) Forget(owner types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owners, owner)
}
