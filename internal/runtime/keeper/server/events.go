package server

import (
	"sync"
	"time"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// eventRoom is how far a subscriber may lag behind before it is cut off. It
// then subscribes and lists again.
const eventRoom = 4096

// broadcaster hands every event to every subscriber, in order.
type broadcaster struct {
	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

type subscriber struct {
	events chan keeper.Event // closed when it is cut off
}

func newBroadcaster() *broadcaster { return &broadcaster{subs: map[*subscriber]struct{}{}} }

func (b *broadcaster) subscribe() *subscriber {
	sub := &subscriber{events: make(chan keeper.Event, eventRoom)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[sub] = struct{}{}
	return sub
}

func (b *broadcaster) unsubscribe(sub *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut(sub)
}

func (b *broadcaster) cut(sub *subscriber) {
	if _, ok := b.subs[sub]; ok {
		delete(b.subs, sub)
		close(sub.events)
	}
}

func (b *broadcaster) send(e keeper.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sub := range b.subs {
		select {
		case sub.events <- e:
		default:
			b.cut(sub)
		}
	}
}

func (s *Server) containerEvent(id, kind string) {
	s.events.send(keeper.Event{ContainerID: id, Type: kind, At: time.Now()})
}

func (s *Server) sandboxEvent(id, kind string) {
	s.events.send(keeper.Event{SandboxID: id, Type: kind, At: time.Now()})
}
