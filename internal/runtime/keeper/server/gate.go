package server

import (
	"runtime"
	"sync"
	"time"
)

// gate lets a few processes be started in containers at a time. A start is work for
// one CPU from beginning to end: more of them at once than CPUs make every one
// later, the first ones most of all, and a crowd of late probes starts more late
// probes.
type gate struct {
	places chan struct{}
	// patience is how long a place may be held. Whoever holds it longer doesn't
	// compute but hang, on a mount from a server that is gone, and must not keep
	// all others out.
	patience time.Duration
}

func newGate() *gate {
	// One more than CPUs, for the moments that a start waits.
	return &gate{places: make(chan struct{}, runtime.GOMAXPROCS(0)+1), patience: 2 * time.Second}
}

// enter waits for a place; leave gives it back.
func (g *gate) enter() (leave func()) {
	g.places <- struct{}{}
	free := sync.OnceFunc(func() { <-g.places })
	late := time.AfterFunc(g.patience, free)
	return func() {
		late.Stop()
		free()
	}
}
