package crifake

import (
	"sync"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// broadcaster hands every event to every subscriber. Queues are unbounded: a
// fake must neither block nor lose events unless told to.
type broadcaster struct {
	mu      sync.Mutex
	subs    map[*queue]struct{}
	dropped bool
}

type queue struct {
	mu     sync.Mutex
	items  []*runtimeapi.ContainerEventResponse
	wake   chan struct{}
	closed bool
}

// DropEvents loses all events from now on (or stops losing them), so that only
// a relist finds what happened.
func (r *Runtime) DropEvents(drop bool) {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	r.events.dropped = drop
}

// CutEvents ends every event stream, as a runtime that restarts does.
func (r *Runtime) CutEvents() {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	for q := range r.events.subs {
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
		q.poke()
	}
}

// Subscribers counts the open event streams.
func (r *Runtime) Subscribers() int {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	return len(r.events.subs)
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (b *broadcaster) publish(e *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped {
		return
	}
	for q := range b.subs {
		q.mu.Lock()
		q.items = append(q.items, e)
		q.mu.Unlock()
		q.poke()
	}
}

// GetContainerEvents streams events until the client goes.
func (r *Runtime) GetContainerEvents(req *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	record, err := r.enter(stream.Context(), "GetContainerEvents", req)
	defer func() { r.leave(record, err) }()
	if err != nil {
		return err
	}
	q := &queue{wake: make(chan struct{}, 1)}
	r.events.mu.Lock()
	if r.events.subs == nil {
		r.events.subs = map[*queue]struct{}{}
	}
	r.events.subs[q] = struct{}{}
	r.events.mu.Unlock()
	defer func() {
		r.events.mu.Lock()
		delete(r.events.subs, q)
		r.events.mu.Unlock()
	}()
	// A remote client learns that it misses nothing from here on.
	if grpc.ServerTransportStreamFromContext(stream.Context()) != nil {
		if err = stream.SendHeader(nil); err != nil {
			return err
		}
	}
	err = q.drain(stream)
	return err
}

func (q *queue) drain(stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	for {
		q.mu.Lock()
		items, closed := q.items, q.closed
		q.items = nil
		q.mu.Unlock()
		for _, e := range items {
			if err := stream.Send(e); err != nil {
				return err
			}
		}
		if closed {
			return nil
		}
		select {
		case <-q.wake:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// emit publishes an event of a container (or of the sandbox itself, when id is
// the sandbox's) with all statuses of its pod; r.mu is held, so that events come
// in the order of the changes.
func (r *Runtime) emit(kind runtimeapi.ContainerEventType, id string, sb *sandbox) {
	e := &runtimeapi.ContainerEventResponse{
		ContainerId: id, ContainerEventType: kind, CreatedAt: r.clock.Now().UnixNano(),
	}
	if sb != nil {
		e.PodSandboxStatus = sb.status()
		e.ContainersStatuses = r.statusesOf(sb.id)
	}
	r.events.publish(e)
}
