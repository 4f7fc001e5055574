package fake

import (
	"context"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// eventBuffer is how far a reader may lag behind before it is cut off.
const eventBuffer = 1024

// Events subscribes to changes.
func (k *Keeper) Events(ctx context.Context) (<-chan keeper.Event, error) {
	if err := k.begin(ctx, "Events"); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	ch := make(chan keeper.Event, eventBuffer)
	k.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.dropLocked(ch)
	})
	return ch, nil
}

func (k *Keeper) dropLocked(ch chan keeper.Event) {
	if _, ok := k.subs[ch]; ok {
		delete(k.subs, ch)
		close(ch)
	}
}

func (k *Keeper) emitLocked(e keeper.Event) {
	for ch := range k.subs {
		select {
		case ch <- e:
		default:
			k.dropLocked(ch)
		}
	}
}
