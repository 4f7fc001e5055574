package server

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/proa-project/proa/internal/kit/footprint"
)

// idleAfter is how long nothing must have happened before memory is given back.
const idleAfter = 3 * time.Second

// idleCollector gives memory back to the system once the work is done: a start
// leaves a few hundred KB of garbage (a spec, a seccomp profile), and an idle
// keeper has no reason to collect it by itself.
type idleCollector struct {
	log     *slog.Logger
	timer   *time.Timer
	settled sync.Once
}

func newIdleCollector(log *slog.Logger) *idleCollector {
	c := &idleCollector{log: log}
	c.timer = time.AfterFunc(idleAfter, c.collect)
	return c
}

func (c *idleCollector) touch() { c.timer.Reset(idleAfter) }

// collect, and the first time also let go of what only the program's start used.
func (c *idleCollector) collect() {
	debug.FreeOSMemory()
	c.settled.Do(func() {
		if err := footprint.DropProgram(); err != nil {
			c.log.Warn("The program's pages were not given back", "err", err)
		}
	})
}
