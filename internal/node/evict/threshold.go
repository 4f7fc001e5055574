package evict

import (
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Signal is something that a node can be short of.
type Signal string

// The signals, by the names of the stock node agent's configuration.
const (
	MemoryAvailable  Signal = "memory.available"
	NodeFSAvailable  Signal = "nodefs.available"
	NodeFSInodesFree Signal = "nodefs.inodesFree"
	PIDAvailable     Signal = "pid.available"
	// Of the file system that images lie on.
	ImageFSAvailable  Signal = "imagefs.available"
	ImageFSInodesFree Signal = "imagefs.inodesFree"
)

// Observation is how much there is and is left of a signal, in bytes or pieces.
type Observation struct {
	Capacity, Available int64
}

// Amount is a quantity, or the Fraction of the capacity where it isn't 0.
type Amount struct {
	Quantity resource.Quantity
	Fraction float64
}

// Of is the amount where there is so much in all.
func (a *Amount) Of(capacity int64) int64 {
	if a.Fraction > 0 {
		return int64(float64(capacity) * a.Fraction)
	}
	return a.Quantity.Value()
}

// Threshold is when a signal is a reason to act.
type Threshold struct {
	Signal Signal
	// Amount must be left.
	Amount
	// Grace is how long the signal must stay below; 0 is a hard threshold.
	Grace time.Duration
	// MinReclaim is what must be left beyond the threshold before it counts as no longer met.
	MinReclaim Amount
}

// DefaultThresholds are upstream's. Those of images are for images on a file system
// of their own: else they would only raise those of the node's.
func DefaultThresholds(imagesApart bool) []Threshold {
	out := []Threshold{
		{Signal: MemoryAvailable, Amount: Amount{Quantity: resource.MustParse("100Mi")}},
		{Signal: NodeFSAvailable, Amount: Amount{Fraction: 0.10}},
		{Signal: NodeFSInodesFree, Amount: Amount{Fraction: 0.05}},
	}
	if imagesApart {
		out = append(out, Threshold{Signal: ImageFSAvailable, Amount: Amount{Fraction: 0.15}}, Threshold{Signal: ImageFSInodesFree, Amount: Amount{Fraction: 0.05}})
	}
	return out
}

// met tells whether too little is left. One that was met before stays so until MinReclaim is left beyond it.
func (t *Threshold) met(o Observation, before bool) bool {
	limit := t.Of(o.Capacity)
	if before {
		limit += t.MinReclaim.Of(o.Capacity)
	}
	return o.Available < limit
}

// signalResource names what a signal is of, as messages and pod specs have it.
var signalResource = map[Signal]v1.ResourceName{
	MemoryAvailable:   v1.ResourceMemory,
	NodeFSAvailable:   v1.ResourceEphemeralStorage,
	NodeFSInodesFree:  "inodes",
	ImageFSAvailable:  v1.ResourceEphemeralStorage,
	ImageFSInodesFree: "inodes",
	PIDAvailable:      "pids",
}

// signalCondition is the node's condition for a signal.
var signalCondition = map[Signal]v1.NodeConditionType{
	MemoryAvailable:   v1.NodeMemoryPressure,
	NodeFSAvailable:   v1.NodeDiskPressure,
	NodeFSInodesFree:  v1.NodeDiskPressure,
	ImageFSAvailable:  v1.NodeDiskPressure,
	ImageFSInodesFree: v1.NodeDiskPressure,
	PIDAvailable:      v1.NodePIDPressure,
}

// Memory is what one turn tells the next; the zero value is none.
type Memory struct {
	// MetSince is when a threshold (by its place in the list) was first met without a break.
	MetSince map[int]time.Time
	// LastSeen is when a condition's signal was last below its threshold.
	LastSeen map[v1.NodeConditionType]time.Time
}

// judge applies the thresholds: which of them call for action now, and which conditions hold.
func judge(in *Input) (due []int, conditions map[v1.NodeConditionType]bool, next Memory) {
	next = Memory{MetSince: map[int]time.Time{}, LastSeen: maps.Clone(in.Memory.LastSeen)}
	if next.LastSeen == nil {
		next.LastSeen = map[v1.NodeConditionType]time.Time{}
	}
	for i := range in.Thresholds {
		t := &in.Thresholds[i]
		o, known := in.Signals[t.Signal]
		since, before := in.Memory.MetSince[i]
		if !known || !t.met(o, before) {
			continue
		}
		if !before {
			since = in.Now
		}
		next.MetSince[i] = since
		next.LastSeen[signalCondition[t.Signal]] = in.Now
		if in.Now.Sub(since) >= t.Grace {
			due = append(due, i)
		}
	}
	conditions = map[v1.NodeConditionType]bool{}
	for condition, seen := range next.LastSeen {
		// A condition lingers, so that a node at the edge doesn't flap.
		if in.Now.Sub(seen) < in.Transition || seen.Equal(in.Now) {
			conditions[condition] = true
		} else {
			delete(next.LastSeen, condition)
		}
	}
	return due, conditions, next
}
