package critests

import (
	"context"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// subscribe opens an event stream that is known to be open.
func (s *suite) subscribe(t testing.TB) grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse] {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	stream, err := s.rt.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func testEvents(t *testing.T, s *suite) {
	stream := s.subscribe(t)
	p := s.pod(t)
	id := p.run("app", "exit 3")
	p.exited(id)
	must(s.rt.RemoveContainer(within(t), &runtimeapi.RemoveContainerRequest{ContainerId: id}))(t)
	p.remove()

	kinds := map[string][]runtimeapi.ContainerEventType{}
	for len(kinds[p.id]) < 4 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %v: %v", kinds, err)
		}
		if e.PodSandboxStatus.GetId() != p.id {
			continue
		}
		kinds[e.ContainerId] = append(kinds[e.ContainerId], e.ContainerEventType)
		if e.CreatedAt <= 0 {
			t.Error("an event without a time")
		}
		if e.ContainerId == id && e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
			if len(e.ContainersStatuses) != 1 || e.ContainersStatuses[0].ExitCode != 3 {
				t.Errorf("the event of the end carries %v", e.ContainersStatuses)
			}
		}
	}
	want := []runtimeapi.ContainerEventType{
		runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT,
		runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT,
	}
	for _, who := range []string{id, p.id} {
		got := kinds[who]
		if len(got) != len(want) {
			t.Errorf("events of %s: %v", who, got)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("events of %s: %v", who, got)
				break
			}
		}
	}
}
