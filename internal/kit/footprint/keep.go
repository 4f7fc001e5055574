package footprint

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// look is how often a process is looked at.
const look = 5 * time.Second

// Keep gives memory back whenever the process comes to rest, until ctx ends, and
// once at once: call it when the start is over.
func Keep(ctx context.Context, p Policy) error {
	allocated, _ := heap()
	m := memory{allocated: allocated, collected: allocated, dropped: allocated}
	if err := giveBack(action{collect: true, drop: true}); err != nil {
		return err
	}
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-ticks.C:
			allocated, live := heap()
			debug.SetGCPercent(gcPercent(p, live))
			var a action
			m, a = decide(p, m, allocated, at)
			if err := giveBack(a); err != nil {
				return err
			}
		}
	}
}

// heap is what was allocated in all, and what was alive at the last collection.
func heap() (allocated, live uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

func giveBack(a action) error {
	if a.collect {
		debug.FreeOSMemory()
	}
	if a.drop {
		return DropProgram()
	}
	return nil
}
