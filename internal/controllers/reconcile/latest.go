package reconcile

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Latest holds objects as a controller wrote them last, until its cache has them
// too: for controllers that count in an object and must not count from an old one.
type Latest[T metav1.Object] struct {
	mu      sync.Mutex
	written map[types.UID]T
}

// Wrote notes an object as the API server returned it.
func (l *Latest[T]) Wrote(object T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written == nil {
		l.written = map[types.UID]T{}
	}
	l.written[object.GetUID()] = object
}

// Of gives the newer one of what the cache has and what was written.
func (l *Latest[T]) Of(cached T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	written, have := l.written[cached.GetUID()]
	if !have {
		return cached
	}
	if older, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), written.GetResourceVersion()); err != nil || older >= 0 {
		delete(l.written, cached.GetUID())
		return cached
	}
	return written
}

// Forget an object that is gone.
func (l *Latest[T]) Forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, uid)
}
