package volumes

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// promises are objects as they will be once a pod's volumes are bound. They hide
// the older ones that the informers still show.
type promises struct {
	mu      sync.Mutex
	volumes promised[*v1.PersistentVolume]
	claims  promised[*v1.PersistentVolumeClaim]
}

type promised[T metav1.Object] map[types.UID]T

func newPromises() *promises {
	return &promises{volumes: promised[*v1.PersistentVolume]{}, claims: promised[*v1.PersistentVolumeClaim]{}}
}

func (p *promises) volume(seen *v1.PersistentVolume) *v1.PersistentVolume {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.volumes.over(seen)
}

func (p *promises) claim(seen *v1.PersistentVolumeClaim) *v1.PersistentVolumeClaim {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims.over(seen)
}

// over is the promise, until what is seen is newer than what it was made from.
func (p promised[T]) over(seen T) T {
	later, has := p[seen.GetUID()]
	if !has {
		return seen
	}
	if order, err := resourceversion.CompareResourceVersion(seen.GetResourceVersion(), later.GetResourceVersion()); err != nil || order > 0 {
		delete(p, seen.GetUID())
		return seen
	}
	return later
}

func (p *promises) make(volumes []*v1.PersistentVolume, claims []*v1.PersistentVolumeClaim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range volumes {
		p.volumes[v.UID] = v
	}
	for _, c := range claims {
		p.claims[c.UID] = c
	}
}

// forget takes promises back, unless others have taken their place.
func (p *promises) forget(volumes []*v1.PersistentVolume, claims []*v1.PersistentVolumeClaim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range volumes {
		if p.volumes[v.UID] == v {
			delete(p.volumes, v.UID)
		}
	}
	for _, c := range claims {
		if p.claims[c.UID] == c {
			delete(p.claims, c.UID)
		}
	}
}
