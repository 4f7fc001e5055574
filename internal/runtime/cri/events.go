package cri

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// eventBacklog is how many events a subscriber may lag behind. One that lags
// further is cut off and finds the truth by listing, as after any broken stream:
// nobody may hold up the runtime or its memory.
const eventBacklog = 4096

// broadcaster hands events to subscribers, in the order of publish.
type broadcaster struct {
	mu     sync.Mutex
	subs   map[chan *runtimeapi.ContainerEventResponse]struct{}
	closed bool
}

func (b *broadcaster) subscribe() chan *runtimeapi.ContainerEventResponse {
	ch := make(chan *runtimeapi.ContainerEventResponse, eventBacklog)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(ch)
		return ch
	}
	if b.subs == nil {
		b.subs = map[chan *runtimeapi.ContainerEventResponse]struct{}{}
	}
	b.subs[ch] = struct{}{}
	return ch
}

func (b *broadcaster) unsubscribe(ch chan *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(ch)
}

func (b *broadcaster) drop(ch chan *runtimeapi.ContainerEventResponse) {
	if _, ok := b.subs[ch]; ok {
		delete(b.subs, ch)
		close(ch)
	}
}

func (b *broadcaster) publish(e *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- e:
		default:
			b.drop(ch)
		}
	}
}

// idle tells that nobody listens, so that events need not be built.
func (b *broadcaster) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) == 0
}

func (b *broadcaster) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for ch := range b.subs {
		b.drop(ch)
	}
}

// Subscribe is GetContainerEvents for callers in the process. The channel is
// closed when ctx ends, the service closes, or the reader lags too far behind;
// subscribe again and list then. Events are shared: don't change them.
func (s *Service) Subscribe(ctx context.Context) <-chan *runtimeapi.ContainerEventResponse {
	ch := s.events.subscribe()
	context.AfterFunc(ctx, func() { s.events.unsubscribe(ch) })
	return ch
}

// GetContainerEvents streams events from the moment of the call on.
func (s *Service) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	ch := s.events.subscribe()
	defer s.events.unsubscribe(ch)
	// Headers go out first: a remote client then knows that it misses nothing
	// from here on. A stream within the process need not know headers.
	if grpc.ServerTransportStreamFromContext(stream.Context()) != nil {
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
	}
	for {
		select {
		case e, ok := <-ch:
			if !ok {
				return fail(codes.ResourceExhausted, "event stream ended: list again and subscribe anew")
			}
			if err := stream.Send(e); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// emit publishes what happened to a container or sandbox, with the statuses of
// the whole pod; s.mu is held, so events come in the order of the changes.
func (s *Service) emit(kind runtimeapi.ContainerEventType, id string, sb *sandbox) {
	if s.events.idle() {
		return
	}
	s.events.publish(&runtimeapi.ContainerEventResponse{
		ContainerId: id, ContainerEventType: kind, CreatedAt: time.Now().UnixNano(),
		PodSandboxStatus: sb.cri(), ContainersStatuses: sb.containerStatuses(),
	})
}
