package footprint

import "time"

// Policy says when giving memory back is worth its while. What it costs is a
// collection (about a millisecond of CPU for a megabyte that lives) and, for the
// program's pages, some hundreds of soft page faults at the next piece of work.
type Policy struct {
	// Quiet is the most that a process at rest allocates between two looks: its
	// heartbeats, leases and watches.
	Quiet uint64
	// Garbage is what must have been allocated since the last collection.
	Garbage uint64
	// Work is what must have been allocated since the program's pages were
	// dropped, and Rest how long the process must have been quiet, for them to
	// be dropped again.
	Work uint64
	Rest time.Duration
	// Headroom is how much garbage may gather at work before a collection. A small
	// heap would be collected many times a second for megabytes that are given
	// back at rest anyway. With more, what stays lies among more garbage: pages
	// that hold one small object each are not given back.
	Headroom uint64
}

// DefaultPolicy is right for looks every few seconds.
func DefaultPolicy() Policy {
	return Policy{Quiet: 2 << 20, Garbage: 8 << 20, Work: 64 << 20, Rest: time.Minute, Headroom: 32 << 20}
}

// memory of what happened. The zero value is a process that has just begun.
type memory struct {
	allocated uint64 // bytes in all, at the last look
	collected uint64 // the same, when garbage was last given back
	dropped   uint64 // the same, when the program's pages were
	quiet     time.Time
}

// action is what is to be given back.
type action struct{ collect, drop bool }

// decide from the bytes that were allocated so far, in all.
func decide(p Policy, m memory, allocated uint64, now time.Time) (memory, action) {
	var a action
	if allocated-m.allocated > p.Quiet {
		m.quiet = time.Time{}
	} else if m.quiet.IsZero() {
		m.quiet = now
	}
	m.allocated = allocated
	if m.quiet.IsZero() {
		return m, a
	}
	if allocated-m.collected >= p.Garbage {
		a.collect, m.collected = true, allocated
	}
	if allocated-m.dropped >= p.Work && now.Sub(m.quiet) >= p.Rest {
		a.drop, m.dropped = true, allocated
	}
	return m, a
}

// gcPercent is the collector's pace for a heap with so many bytes alive: Go's own
// for one that is larger than the headroom.
func gcPercent(p Policy, live uint64) int {
	const usual, most = 100, 400
	return int(min(max(p.Headroom*100/max(live, 1), usual), most))
}
