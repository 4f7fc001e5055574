package crifake

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sink is the client's end of an event stream within the process.
type sink struct {
	grpc.ServerStream
	ctx context.Context
	ch  chan *runtimeapi.ContainerEventResponse
}

func (s *sink) Context() context.Context { return s.ctx }
func (s *sink) Send(e *runtimeapi.ContainerEventResponse) error {
	s.ch <- e
	return nil
}

type fixture struct {
	*Runtime
	t       *testing.T
	clock   *clocktesting.FakeClock
	sandbox string
	events  chan *runtimeapi.ContainerEventResponse
}

func newFixture(t *testing.T) *fixture {
	clk := clocktesting.NewFakeClock(epoch)
	f := &fixture{Runtime: New(Config{Clock: clk}), t: t, clock: clk, events: make(chan *runtimeapi.ContainerEventResponse, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.GetContainerEvents(&runtimeapi.GetEventsRequest{}, &sink{ctx: ctx, ch: f.events})
	}()
	t.Cleanup(func() { cancel(); <-done })
	for f.Subscribers() == 0 {
		time.Sleep(time.Millisecond)
	}
	f.AddImage("busybox", Image{})
	sb, err := f.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "default", Uid: "u"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.sandbox = sb.PodSandboxId
	return f
}

func (f *fixture) create(name string, attempt uint32) string {
	f.t.Helper()
	c, err := f.CreateContainer(context.Background(), &runtimeapi.CreateContainerRequest{PodSandboxId: f.sandbox, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt}, Image: &runtimeapi.ImageSpec{Image: "busybox:latest"},
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return c.ContainerId
}

func (f *fixture) start(id string) error {
	_, err := f.StartContainer(context.Background(), &runtimeapi.StartContainerRequest{ContainerId: id})
	return err
}

func (f *fixture) status(id string) *runtimeapi.ContainerStatus {
	f.t.Helper()
	st, err := f.ContainerStatus(context.Background(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		f.t.Fatal(err)
	}
	return st.Status
}

// await skips events until the one of that kind for the container.
func (f *fixture) await(kind runtimeapi.ContainerEventType, id string) *runtimeapi.ContainerEventResponse {
	f.t.Helper()
	for {
		select {
		case e := <-f.events:
			if e.ContainerEventType == kind && e.ContainerId == id {
				return e
			}
		case <-time.After(10 * time.Second):
			f.t.Fatalf("no %s event of %s", kind, id)
		}
	}
}

func TestScriptedExitComesWithTheClock(t *testing.T) {
	f := newFixture(t)
	f.Script("app", Program{ExitAfter: 3 * time.Second, ExitCode: 7}, Program{})
	id := f.create("app", 0)
	if err := f.start(id); err != nil {
		t.Fatal(err)
	}
	if got := f.status(id).State; got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("state %s after the start", got)
	}
	f.clock.Step(time.Minute)
	e := f.await(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, id)
	if len(e.ContainersStatuses) != 1 || e.ContainersStatuses[0].ExitCode != 7 {
		t.Fatalf("event carries %v", e.ContainersStatuses)
	}
	if got, want := f.status(id).FinishedAt, epoch.Add(3*time.Second).UnixNano(); got != want {
		t.Fatalf("finished at %d, want the due time %d", got, want)
	}
	second := f.create("app", 1)
	if err := f.start(second); err != nil {
		t.Fatal(err)
	}
	f.clock.Step(time.Hour)
	if got := f.status(second).State; got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("the second program was not taken: %s", got)
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	f := newFixture(t)
	f.Script("stubborn", Program{IgnoreTerm: true})
	id := f.create("stubborn", 0)
	if err := f.start(id); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() {
		_, err := f.StopContainer(context.Background(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 30})
		stopped <- err
	}()
	for !f.clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	f.clock.Step(30 * time.Second)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if st := f.status(id); st.ExitCode != 137 || st.FinishedAt != epoch.Add(30*time.Second).UnixNano() {
		t.Fatalf("code %d at %d", st.ExitCode, st.FinishedAt)
	}
}

func TestFaults(t *testing.T) {
	f := newFixture(t)
	boom := errors.New("no space left on device")
	f.Fail("CreateContainer", boom, 1)
	req := &runtimeapi.CreateContainerRequest{PodSandboxId: f.sandbox, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "a"}, Image: &runtimeapi.ImageSpec{Image: "busybox"},
	}}
	if _, err := f.CreateContainer(context.Background(), req); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	f.FailAfter("CreateContainer", boom, 1)
	if _, err := f.CreateContainer(context.Background(), req); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if _, err := f.CreateContainer(context.Background(), req); status.Code(err) != codes.AlreadyExists {
		t.Fatalf("the lost answer had no effect: %v", err)
	}
	if n := len(f.Calls("CreateContainer")); n != 3 {
		t.Fatalf("%d calls recorded", n)
	}
}

func TestStartErrorIsAnExitOf128(t *testing.T) {
	f := newFixture(t)
	f.Script("bad", Program{StartError: errors.New(`exec: "foo": executable file not found in $PATH`)})
	id := f.create("bad", 0)
	if err := f.start(id); err == nil {
		t.Fatal("started")
	}
	if st := f.status(id); st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != 128 || st.Reason != "StartError" {
		t.Fatalf("status %v", st)
	}
}

func TestRemovedSandboxTakesAllWithIt(t *testing.T) {
	f := newFixture(t)
	id := f.create("app", 0)
	if err := f.start(id); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing and is content
		if _, err := f.RemovePodSandbox(context.Background(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: f.sandbox}); err != nil {
			t.Fatal(err)
		}
	}
	f.await(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, f.sandbox)
	list, err := f.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{})
	if err != nil || len(list.Containers) != 0 {
		t.Fatalf("left: %v, %v", list, err)
	}
}
