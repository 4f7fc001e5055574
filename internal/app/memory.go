package app

import (
	"context"
	"runtime/debug"
	"time"
)

// settleAfter is when the start's own work is surely over.
const settleAfter = 3 * time.Second

// settle gives back, once, the garbage that the start left on the heap.
func settle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(settleAfter):
		debug.FreeOSMemory()
	}
}
