package loop

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/podlife"
)

// How much is remembered for whoever asks why.
const (
	keepEntries = 200
	keepGone    = time.Hour
	maxGone     = 1000
)

// Explanation is what the agent can tell of a pod: what it does, what it waits
// for, and what it did and why.
type Explanation struct {
	UID       types.UID       `json:"uid"`
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Phase     podlife.Phase   `json:"phase"`
	InFlight  []InFlight      `json:"inFlight,omitempty"`
	Waits     []podlife.Wait  `json:"waits,omitempty"`
	WakeAt    time.Time       `json:"wakeAt,omitzero"`
	Log       []podlife.Entry `json:"log"`
	GoneAt    time.Time       `json:"goneAt,omitzero"` // zero while the pod is there
}

// InFlight is an action under way.
type InFlight struct {
	Kind      podlife.Kind `json:"kind"`
	Container string       `json:"container,omitempty"`
	Why       string       `json:"why"`
	Since     time.Time    `json:"since"`
}

// records keeps the explanations. Written by the pods' goroutines, read by anybody.
type records struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	pods map[types.UID]*Explanation
	gone []types.UID // oldest first
}

func newRecords(c clock.PassiveClock) *records {
	return &records{clock: c, pods: map[types.UID]*Explanation{}}
}

func (r *records) update(id Explanation, out podlife.Output) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.pods[id.UID]
	if e == nil {
		e = &Explanation{}
		r.pods[id.UID] = e
	}
	log := append(e.Log, out.Log...)
	if over := len(log) - keepEntries; over > 0 {
		log = append([]podlife.Entry(nil), log[over:]...)
	}
	*e = id
	e.Phase, e.Waits, e.WakeAt, e.Log = out.Phase, out.Waits, out.WakeAt, log
}

func (r *records) end(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if e := r.pods[uid]; e != nil {
		e.GoneAt, e.InFlight, e.Waits = now, nil, nil
		r.gone = append(r.gone, uid)
	}
	for len(r.gone) > 0 {
		oldest := r.pods[r.gone[0]]
		if len(r.gone) <= maxGone && oldest != nil && now.Sub(oldest.GoneAt) < keepGone {
			return
		}
		delete(r.pods, r.gone[0])
		r.gone = r.gone[1:]
	}
}

// find returns copies of what is known under a name, the living first.
func (r *records) find(namespace, name string) []Explanation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var living, gone []Explanation
	for _, e := range r.pods {
		if e.Namespace != namespace || e.Name != name {
			continue
		}
		c := *e
		c.Log = append([]podlife.Entry(nil), e.Log...)
		if c.GoneAt.IsZero() {
			living = append(living, c)
		} else if r.clock.Since(c.GoneAt) < keepGone {
			gone = append(gone, c)
		}
	}
	return append(living, gone...)
}
