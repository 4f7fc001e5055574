package app

import (
	"context"
	"time"

	"github.com/proa-project/proa/internal/kit/footprint"
)

// settleAfter is when the start's own work is surely over.
const settleAfter = 3 * time.Second

// keepSmall gives back what the start has left behind, and later what bursts of
// work do.
func keepSmall(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(settleAfter):
		return footprint.Keep(ctx, footprint.DefaultPolicy())
	}
}
