package loop

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"
)

func waiting(reason string) v1.ContainerStatus {
	return v1.ContainerStatus{Name: "c", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}}
}

var (
	runs = v1.ContainerStatus{Name: "c", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
	over = v1.ContainerStatus{Name: "c", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}}
)

func TestPressing(t *testing.T) {
	condition := func(c v1.PodConditionType, is v1.ConditionStatus) v1.PodStatus {
		return v1.PodStatus{Conditions: []v1.PodCondition{{Type: c, Status: is}}}
	}
	with := func(c v1.ContainerStatus) v1.PodStatus {
		return v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{c}}
	}
	again := waiting("ContainerCreating")
	again.RestartCount = 1
	made := waiting("ContainerCreating")
	made.ContainerID, made.ImageID = "proa://1", "sha256:2"
	for name, c := range map[string]struct {
		before, after v1.PodStatus
		want          bool
	}{
		"nothing":                  {v1.PodStatus{}, v1.PodStatus{}, false},
		"pending, as it was":       {v1.PodStatus{}, v1.PodStatus{Phase: v1.PodPending}, false},
		"running":                  {v1.PodStatus{Phase: v1.PodPending}, v1.PodStatus{Phase: v1.PodRunning}, true},
		"a generation seen":        {v1.PodStatus{}, v1.PodStatus{ObservedGeneration: 2}, false},
		"an address":               {v1.PodStatus{}, v1.PodStatus{PodIP: "1.2.3.4", PodIPs: []v1.PodIP{{IP: "1.2.3.4"}}}, false},
		"evicted":                  {v1.PodStatus{}, v1.PodStatus{Reason: "Evicted"}, true},
		"a first unready":          {v1.PodStatus{}, condition(v1.PodReady, v1.ConditionFalse), false},
		"ready":                    {condition(v1.PodReady, v1.ConditionFalse), condition(v1.PodReady, v1.ConditionTrue), true},
		"no longer ready":          {condition(v1.PodReady, v1.ConditionTrue), condition(v1.PodReady, v1.ConditionFalse), true},
		"sandbox":                  {v1.PodStatus{}, condition(v1.PodReadyToStartContainers, v1.ConditionTrue), false},
		"disruption":               {v1.PodStatus{}, condition(v1.DisruptionTarget, v1.ConditionTrue), true},
		"being made":               {v1.PodStatus{}, with(waiting("ContainerCreating")), false},
		"made":                     {with(waiting("ContainerCreating")), with(made), false},
		"behind init containers":   {v1.PodStatus{}, with(waiting("PodInitializing")), false},
		"no image":                 {with(waiting("ContainerCreating")), with(waiting("ErrImagePull")), true},
		"image after all":          {with(waiting("ErrImagePull")), with(waiting("ContainerCreating")), true},
		"container runs":           {with(waiting("ContainerCreating")), with(runs), true},
		"container ended":          {with(runs), with(over), true},
		"made again":               {with(over), with(again), true},
		"init container ended":     {v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{runs}}, v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{over}}, true},
		"ephemeral container runs": {v1.PodStatus{}, v1.PodStatus{EphemeralContainerStatuses: []v1.ContainerStatus{runs}}, true},
	} {
		if got := pressing(&c.before, &c.after); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestLinger: the stations of a pod's start that follow quickly cost one patch;
// a pod that stands still has its station told; what follows waits a second.
func TestLinger(t *testing.T) {
	client, sent := fake.NewClientset(), make(chan string, 10)
	var mu sync.Mutex
	object, latest := aPod(), v1.PodStatus{}
	object.ResourceVersion = "1"
	client.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		object = &v1.Pod{ObjectMeta: object.ObjectMeta, Status: latest}
		object.ResourceVersion += "0"
		sent <- string(a.(clienttesting.PatchAction).GetPatch())
		return true, object, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	clk := testingclock.NewFakeClock(time.Unix(1000, 0))
	s := NewSender(ctx, client, clk, slog.New(slog.DiscardHandler))
	defer s.Wait()
	defer cancel()
	set := func(status v1.PodStatus) {
		mu.Lock()
		latest = status
		known := object
		mu.Unlock()
		s.Set(known, status, false)
	}
	pass := func(d time.Duration) {
		for !clk.HasWaiters() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		clk.Step(d)
	}
	receive := func(want string) {
		t.Helper()
		select {
		case got := <-sent:
			if got != want {
				t.Fatalf("sent %s, want %s", got, want)
			}
		case <-ctx.Done():
			t.Fatal("nothing was sent")
		}
	}
	set(v1.PodStatus{HostIP: "1.1.1.1"})
	pass(lingerFirst - 1)
	set(v1.PodStatus{HostIP: "1.1.1.1", Phase: v1.PodRunning})
	receive(`{"metadata":{"uid":"u"},"status":{"hostIP":"1.1.1.1","phase":"Running"}}`)

	set(v1.PodStatus{HostIP: "1.1.1.1", Phase: v1.PodRunning, PodIP: "2.2.2.2"})
	pass(lingerFirst)
	select {
	case got := <-sent:
		t.Fatalf("too early: %s", got)
	default:
	}
	pass(lingerMore)
	receive(`{"metadata":{"uid":"u"},"status":{"podIP":"2.2.2.2"}}`)

	passing := v1.PodStatus{HostIP: "1.1.1.1", Phase: v1.PodFailed, PodIP: "2.2.2.2"}
	s.Set(object, passing, true)
	pass(lingerFirst) // an end that is about to be mended waits for that
	select {
	case got := <-sent:
		t.Fatalf("too early: %s", got)
	default:
	}
	passing.Phase, passing.HostIP = v1.PodRunning, "4.4.4.4"
	set(passing)
	pass(lingerMore)
	receive(`{"metadata":{"uid":"u"},"status":{"hostIP":"4.4.4.4"}}`)

	set(v1.PodStatus{HostIP: "3.3.3.3", Phase: v1.PodRunning, PodIP: "2.2.2.2"})
	if err := s.Flush(ctx, "u"); err != nil || len(sent) > 0 {
		t.Errorf("a flush waits for what presses alone: %v, %d sent", err, len(sent))
	}
}
