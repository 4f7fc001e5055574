package server

import (
	"runtime/debug"
	"time"
)

// idleAfter is how long nothing must have happened before memory is given back.
const idleAfter = 3 * time.Second

// idleCollector gives memory back to the system once the work is done: a start
// leaves a few hundred KB of garbage (a spec, a seccomp profile), and an idle
// keeper has no reason to collect it by itself.
type idleCollector struct {
	timer *time.Timer
}

func newIdleCollector() *idleCollector {
	return &idleCollector{time.AfterFunc(idleAfter, debug.FreeOSMemory)}
}

func (c *idleCollector) touch() { c.timer.Reset(idleAfter) }
