package replicas

import (
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var now = time.Unix(1_800_000_000, 0)

func set(replicas int32) Set {
	return Set{
		Object: &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns", Generation: 4}}, Replicas: replicas, MinReady: 10,
		Template: &v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}}},
	}
}

func pods(n int) (pods []*v1.Pod) {
	for i := range n {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), UID: types.UID(fmt.Sprint(i)), Labels: map[string]string{"app": "a"}}}
		p.Status.Phase = v1.PodRunning
		pods = append(pods, p)
	}
	return pods
}

func readyFor(p *v1.Pod, d time.Duration) {
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-d))}}
}

func TestPlanReachesTheWantedNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := rapid.IntRange(0, 1200).Draw(t, "want"), rapid.IntRange(0, 1200).Draw(t, "have")
		s := set(int32(want))
		active := pods(have)
		for range 4 {
			step := plan(s, active, nil, now)
			if step.create > 0 && len(step.remove) > 0 || step.create > burst || len(step.remove) > burst {
				t.Fatalf("makes %d and deletes %d at once", step.create, len(step.remove))
			}
			active = pods(len(active) + step.create - len(step.remove))
		}
		if len(active) != want {
			t.Fatalf("%d pods, want %d", len(active), want)
		}
	})
}

func TestASetThatIsBeingDeletedDoesNothing(t *testing.T) {
	s := set(3)
	s.Object.SetDeletionTimestamp(&metav1.Time{Time: now})
	if step := plan(s, pods(1), nil, now); step.create != 0 || len(step.remove) != 0 {
		t.Errorf("%+v", step)
	}
}

func TestStatus(t *testing.T) {
	active := pods(4)
	readyFor(active[0], time.Minute)
	readyFor(active[1], 4*time.Second)
	active[3].Labels = map[string]string{"app": "a", "more": "x"}
	s := set(5)
	st, recheck := status(s, active, 2, errors.New("no"), now)
	want := Status{Replicas: 4, FullyLabeled: 4, Ready: 2, Available: 1, Terminating: 2, ObservedGeneration: 4}
	failure := st.Failure
	if st.Failure = nil; st != want || recheck != 6*time.Second {
		t.Errorf("got %+v, recheck %v", st, recheck)
	}
	if failure == nil || failure.Reason != "FailedCreate" || failure.Message != "no" {
		t.Errorf("failure %+v", failure)
	}
	s.Status.Failure = failure
	if again, _ := status(s, active, 2, errors.New("another"), now.Add(time.Hour)); again.Failure != failure {
		t.Error("a failure that goes on is written anew")
	}
	if good, _ := status(s, active, 2, nil, now); good.Failure != nil {
		t.Error("a failure stays after it is over")
	}
}
