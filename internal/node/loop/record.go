package loop

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/history"
	"github.com/proa-project/proa/internal/node/podlife"
)

// KeepGone is how long a pod that is gone is remembered for whoever asks why.
const KeepGone = time.Hour

// maxGone bounds how many are.
const maxGone = 1000

// Histories keeps pods' histories over a restart; *history.Files is one.
type Histories interface {
	Append(uid types.UID, namespace, name string, entries []podlife.Entry, spans []history.Span, all *history.History) error
	Gone(uid types.UID, at time.Time) error
	Drop(uid types.UID)
}

// Explanation is what the agent can tell of a pod: what it does, what it waits
// for, and what it did and why.
type Explanation struct {
	UID       types.UID       `json:"uid"`
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Phase     podlife.Phase   `json:"phase"`
	InFlight  []InFlight      `json:"inFlight,omitempty"`
	Waits     []Wait          `json:"waits,omitempty"`
	WakeAt    time.Time       `json:"wakeAt,omitzero"`
	Probes    []Probe         `json:"probes,omitempty"`
	Log       []podlife.Entry `json:"log"`
	Spans     []history.Span  `json:"spans,omitempty"`
	GoneAt    time.Time       `json:"goneAt,omitzero"` // zero while the pod is there
}

// InFlight is an action under way.
type InFlight struct {
	Kind      podlife.Kind `json:"kind"`
	Container string       `json:"container,omitempty"`
	Why       string       `json:"why"`
	Since     time.Time    `json:"since"`
}

// Wait is what the pod waits for, and since when.
type Wait struct {
	podlife.Wait
	Since time.Time `json:"since"`
}

// Probe is the verdict of a probe on a container that runs.
type Probe struct {
	Container string            `json:"container"`
	Kind      podlife.ProbeKind `json:"kind"`
	podlife.ProbeState
}

// records keeps the explanations. Written by the pods' goroutines, read by anybody.
type records struct {
	clock clock.PassiveClock
	files Histories // nil: they don't outlive the agent

	mu   sync.Mutex
	pods map[types.UID]*record
	gone []types.UID // oldest first
}

type record struct {
	Explanation
	history history.History
}

func newRecords(c clock.PassiveClock, files Histories, stored []history.Stored) *records {
	r := &records{clock: c, files: files, pods: map[types.UID]*record{}}
	slices.SortFunc(stored, func(a, b history.Stored) int { return a.GoneAt.Compare(b.GoneAt) })
	for _, s := range stored {
		r.pods[s.UID] = &record{
			Explanation: Explanation{UID: s.UID, Namespace: s.Namespace, Name: s.Name, GoneAt: s.GoneAt}, history: s.History,
		}
		if !s.GoneAt.IsZero() {
			r.gone = append(r.gone, s.UID)
		}
	}
	return r
}

// update takes in what a pod decided, and the states it is in.
func (r *records) update(e Explanation, entries []podlife.Entry, states []history.Span) error {
	r.mu.Lock()
	rec := r.pods[e.UID]
	if rec == nil {
		rec = &record{}
		r.pods[e.UID] = rec
	}
	if !rec.GoneAt.IsZero() { // a static pod that came back
		r.gone = slices.DeleteFunc(r.gone, func(uid types.UID) bool { return uid == e.UID })
	}
	now := r.clock.Now()
	for i := range e.Waits {
		e.Waits[i].Since = since(rec.Waits, e.Waits[i], now)
	}
	rec.Explanation = e
	rec.history.Add(entries)
	changed := rec.history.Observe(now, states)
	r.mu.Unlock()
	return r.append(rec, entries, changed)
}

// ended takes in a span of a pod whose end is known.
func (r *records) ended(uid types.UID, s history.Span) error {
	r.mu.Lock()
	rec := r.pods[uid]
	if rec == nil {
		r.mu.Unlock()
		return nil
	}
	news := rec.history.Ended(s)
	r.mu.Unlock()
	return r.append(rec, nil, news)
}

// append to the file; only the pod's own goroutine does, as it alone changes the
// history.
func (r *records) append(rec *record, entries []podlife.Entry, spans []history.Span) error {
	if r.files == nil {
		return nil
	}
	return r.files.Append(rec.UID, rec.Namespace, rec.Name, entries, spans, &rec.history)
}

// since when the pod waits for this.
func since(before []Wait, w Wait, now time.Time) time.Time {
	for _, b := range before {
		if b.Subject == w.Subject && b.For == w.For {
			return b.Since
		}
	}
	return now
}

// leave: the pod is gone. It is remembered for a while.
func (r *records) leave(uid types.UID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	rec := r.pods[uid]
	var err error
	if rec != nil {
		ended := rec.history.Observe(now, nil)
		err = r.append(rec, nil, ended)
		rec.GoneAt, rec.InFlight, rec.Waits, rec.Probes = now, nil, nil, nil
		r.gone = append(r.gone, uid)
		if r.files != nil && err == nil {
			err = r.files.Gone(uid, now)
		}
	}
	r.forgetOld(now)
	return err
}

// endUnknown: of these pods nothing is left, and nobody has told.
func (r *records) endUnknown(known func(types.UID) bool) error {
	r.mu.Lock()
	var left []types.UID
	for uid, rec := range r.pods {
		if rec.GoneAt.IsZero() && !known(uid) {
			left = append(left, uid)
		}
	}
	r.mu.Unlock()
	var errs []error
	for _, uid := range left {
		errs = append(errs, r.leave(uid))
	}
	return errors.Join(errs...)
}

func (r *records) forgetOld(now time.Time) {
	for len(r.gone) > 0 {
		oldest := r.pods[r.gone[0]]
		if len(r.gone) <= maxGone && oldest != nil && now.Sub(oldest.GoneAt) < KeepGone {
			return
		}
		delete(r.pods, r.gone[0])
		if r.files != nil {
			r.files.Drop(r.gone[0])
		}
		r.gone = r.gone[1:]
	}
}

// find returns copies of what is known under a name: the living first, then those
// that are gone, the last one first.
func (r *records) find(namespace, name string) []Explanation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Explanation
	for _, rec := range r.pods {
		if rec.Namespace != namespace || rec.Name != name || !rec.GoneAt.IsZero() && r.clock.Since(rec.GoneAt) >= KeepGone {
			continue
		}
		e := rec.Explanation
		e.Log, e.Spans = slices.Clone(rec.history.Log), rec.history.All()
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b Explanation) int {
		if a.GoneAt.IsZero() != b.GoneAt.IsZero() {
			if a.GoneAt.IsZero() {
				return -1
			}
			return 1
		}
		return b.GoneAt.Compare(a.GoneAt)
	})
	return found
}

// probes are the verdicts on containers that run.
func probes(m podlife.Memory) []Probe {
	var out []Probe
	for _, name := range slices.Sorted(maps.Keys(m.Containers)) {
		c := m.Containers[name]
		if c.Last == nil || c.Probe.ID != c.Last.ID || c.Last.State != podlife.Live {
			continue
		}
		for _, p := range []Probe{
			{name, podlife.Startup, c.Probe.Startup}, {name, podlife.Liveness, c.Probe.Liveness}, {name, podlife.Readiness, c.Probe.Readiness},
		} {
			if !p.At.IsZero() {
				out = append(out, p)
			}
		}
	}
	return out
}
