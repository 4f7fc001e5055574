package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// InProcess makes a Runtime with Events of a CRI server in this process: calls
// go straight to it, nothing is serialized.
func InProcess(server runtimeapi.RuntimeServiceServer) Runtime {
	return &inProcess{server}
}

type inProcess struct {
	runtimeapi.RuntimeServiceServer
}

var _ Events = (*inProcess)(nil)

func (s *inProcess) ContainerEvents(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error {
	err := s.GetContainerEvents(&runtimeapi.GetEventsRequest{}, &eventSink{ctx: ctx, f: f})
	if err == nil {
		err = errors.New("container events: stream ended")
	}
	return err
}

// eventSink is the server's end of a stream that goes nowhere but to f.
type eventSink struct {
	ctx context.Context
	f   func(*runtimeapi.ContainerEventResponse)
}

func (s *eventSink) Send(e *runtimeapi.ContainerEventResponse) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.f(e)
	return nil
}

func (s *eventSink) Context() context.Context     { return s.ctx }
func (s *eventSink) SetHeader(metadata.MD) error  { return nil }
func (s *eventSink) SendHeader(metadata.MD) error { return nil }
func (s *eventSink) SetTrailer(metadata.MD)       {}
func (s *eventSink) RecvMsg(any) error            { return errors.New("container events: nothing to receive") }
func (s *eventSink) SendMsg(m any) error {
	e, ok := m.(*runtimeapi.ContainerEventResponse)
	if !ok {
		return errors.New("container events: unexpected message")
	}
	return s.Send(e)
}
