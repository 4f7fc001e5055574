// Package history keeps what a pod did, for whoever asks why: its decisions, and
// the spans of time that it spent on something. It is bounded: of a long life the
// beginning and the end are kept.
//
//	history.go  PURE: what is kept, and how states become spans
//	files.go    on disk, so that a restart of the agent takes nothing away
package history

import (
	"slices"
	"time"

	"github.com/proa-project/proa/internal/node/podlife"
)

// How much is kept of one pod.
const (
	maxEntries = 300
	maxSpans   = 500
	// keepFirst of them are its beginning.
	keepFirst = 60
)

// Span is a time that a pod, or a container of it, spent in a state.
type Span struct {
	Lane string    `json:"lane,omitempty"` // container; "" is the pod
	Kind Kind      `json:"kind"`
	ID   string    `json:"id"` // the same for the same state, from turn to turn
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"` // zero: it is so still
	Note string    `json:"note,omitempty"`
	// Failed: it did not end well.
	Failed bool `json:"failed,omitempty"`
}

// Kind of a span.
type Kind string

const (
	Phase     Kind = "phase" // of the pod; the note names it
	Cgroup    Kind = "cgroup"
	Volumes   Kind = "volumes"
	Sandbox   Kind = "sandbox"
	Pull      Kind = "pull"
	Start     Kind = "start"
	Run       Kind = "run"
	Ready     Kind = "ready"
	PostStart Kind = "postStart"
	PreStop   Kind = "preStop"
	Stop      Kind = "stop"
	BackOff   Kind = "backOff"
	Resize    Kind = "resize"
	Release   Kind = "release"
)

// History of one pod.
type History struct {
	Log   []podlife.Entry
	Spans []Span // that have ended, in the order of their ends
	Open  []Span // that have not
}

// Add decisions.
func (h *History) Add(entries []podlife.Entry) {
	h.Log = bounded(append(h.Log, entries...), maxEntries)
}

// Observe takes the states that the pod is in now: new ones begin, and those that
// are no longer among them end. It returns the spans that have begun or ended.
func (h *History) Observe(now time.Time, states []Span) []Span {
	var open, changed []Span
	for _, old := range h.Open {
		i := slices.IndexFunc(states, func(s Span) bool { return s.ID == old.ID })
		if i < 0 {
			old.To = now
			changed = append(changed, old)
			continue
		}
		open = append(open, old)
	}
	h.keep(changed)
	for _, s := range states {
		if !slices.ContainsFunc(h.Open, func(o Span) bool { return o.ID == s.ID }) {
			if s.From.IsZero() {
				s.From = now
			}
			open, changed = append(open, s), append(changed, s)
		}
	}
	h.Open = open
	return changed
}

// Ended takes in a span whose end is known, and returns it if that is news.
func (h *History) Ended(s Span) []Span {
	if i := slices.IndexFunc(h.Open, func(o Span) bool { return o.ID == s.ID }); i >= 0 {
		h.Open = slices.Delete(slices.Clone(h.Open), i, i+1)
	} else if slices.ContainsFunc(h.Spans, func(o Span) bool { return o.ID == s.ID && o.From.Equal(s.From) }) {
		return nil
	}
	ended := []Span{s}
	h.keep(ended)
	return ended
}

// restore a span that was begun or ended before a restart.
func (h *History) restore(s Span) {
	h.Open = slices.DeleteFunc(h.Open, func(o Span) bool { return o.ID == s.ID })
	if s.To.IsZero() {
		h.Open = append(h.Open, s)
		return
	}
	h.keep([]Span{s})
}

func (h *History) keep(ended []Span) {
	h.Spans = bounded(append(h.Spans, ended...), maxSpans)
}

// All spans, those that go on included.
func (h *History) All() []Span { return append(slices.Clone(h.Spans), h.Open...) }

// bounded drops from the middle.
func bounded[T any](list []T, most int) []T {
	over := len(list) - most
	if over <= 0 {
		return list
	}
	return append(slices.Clone(list[:keepFirst]), list[keepFirst+over:]...)
}
