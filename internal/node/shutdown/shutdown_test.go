package shutdown

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func pod(name string, priority int32, grace int64) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec:       v1.PodSpec{Priority: &priority, TerminationGracePeriodSeconds: &grace},
		Status:     v1.PodStatus{Phase: v1.PodRunning},
	}
}

func TestSteps(t *testing.T) {
	for _, tc := range []struct {
		total, critical time.Duration
		want            string
	}{
		{0, 0, ""},
		{30 * time.Second, 10 * time.Second, "0: 20s, 2000000000: 10s"},
		{30 * time.Second, 0, "0: 30s, 2000000000: 0s"},
		{10 * time.Second, 30 * time.Second, "shutdownGracePeriodCriticalPods: Invalid value"},
		{-time.Second, 0, "shutdownGracePeriod: Invalid value"},
		{1500 * time.Millisecond, 0, "must be whole seconds"},
	} {
		steps, errs := Steps(tc.total, tc.critical)
		var words []string
		for _, s := range steps {
			words = append(words, fmt.Sprintf("%d: %s", s.Priority, s.Grace))
		}
		got := strings.Join(words, ", ")
		if errs != nil {
			got = errs.ToAggregate().Error()
		}
		if !strings.Contains(got, tc.want) || got != "" && tc.want == "" {
			t.Errorf("%s, %s: %s, want %s", tc.total, tc.critical, got, tc.want)
		}
	}
}

func TestPlan(t *testing.T) {
	steps := []Step{{1000, 20 * time.Second}, {0, 10 * time.Second}, {critical, 5 * time.Second}}
	done := pod("done", 0, 30)
	done.Status.Phase = v1.PodSucceeded
	var got []string
	for _, g := range Plan([]*v1.Pod{pod("system", critical+1000, 30), pod("dear", 1000, 60), pod("plain", 999, 30), pod("cheap", -5, 1), done}, steps) {
		for _, p := range g.Pods {
			got = append(got, fmt.Sprintf("%d %s %s", g.Priority, p.Name, g.grace(p)))
		}
	}
	if diff := cmp.Diff([]string{"0 plain 10s", "0 cheap 1s", "1000 dear 20s", "2000000000 system 5s"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlanTakesEveryRunningPodOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var steps []Step
		for _, p := range rapid.SliceOfNDistinct(rapid.Int32(), 1, 5, rapid.ID).Draw(t, "steps") {
			steps = append(steps, Step{p, time.Duration(rapid.IntRange(0, 60).Draw(t, "grace")) * time.Second})
		}
		var pods []*v1.Pod
		for i, p := range rapid.SliceOf(rapid.Int32()).Draw(t, "priorities") {
			pods = append(pods, pod(fmt.Sprint(i), p, 30))
		}
		count, last := 0, int32(-1<<31)
		for i, g := range Plan(pods, steps) {
			count += len(g.Pods)
			for _, p := range g.Pods {
				if i > 0 && *p.Spec.Priority < g.Priority {
					t.Fatalf("a pod of priority %d is in the group from %d on", *p.Spec.Priority, g.Priority)
				}
				if *p.Spec.Priority < last {
					t.Fatalf("a pod of priority %d ends after one of %d", *p.Spec.Priority, last)
				}
			}
			for _, p := range g.Pods {
				last = max(last, *p.Spec.Priority)
			}
		}
		if count != len(pods) {
			t.Fatalf("%d of %d pods", count, len(pods))
		}
	})
}

// node is a node whose pods end when they are told to, some of them late.
type node struct {
	mu      sync.Mutex
	began   time.Time
	pods    []*v1.Pod
	late    map[string]time.Duration
	journal []string
}

func (n *node) note(format string, args ...any) {
	n.journal = append(n.journal, fmt.Sprintf("%s "+format, append([]any{time.Since(n.began)}, args...)...))
}

func (n *node) list() []*v1.Pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]*v1.Pod, len(n.pods))
	for i, p := range n.pods {
		out[i] = p.DeepCopy()
	}
	return out
}

func (n *node) end(pod *v1.Pod, grace time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("end %s within %s", pod.Name, grace)
	time.AfterFunc(n.late[pod.Name], func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, p := range n.pods {
			if p.Name == pod.Name {
				p.Status.Phase = v1.PodFailed
			}
		}
	})
}

func (n *node) problem(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.note("problem %v", err)
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{began: time.Now(), pods: []*v1.Pod{pod("system", critical, 30), pod("quick", 0, 30), pod("slow", 0, 30)},
			late: map[string]time.Duration{"quick": time.Second, "slow": 2950 * time.Millisecond, "system": time.Hour}}
		m, err := New(Config{Steps: []Step{{0, 20 * time.Second}, {critical, 5 * time.Second}}, Pods: n.list, End: n.end, Problem: n.problem})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !m.Active() {
			t.Error("the node still takes pods")
		}
		n.note("done")
		m.Resume()
		if m.Active() {
			t.Error("the node takes no pods")
		}
		want := []string{
			"0s problem node is shutting down",
			"0s end quick within 20s", "0s end slow within 20s",
			"3s end system within 5s", // not before the others are gone
			"8s done",                 // it never ended, and its time is up
			"8s problem <nil>",
		}
		if diff := cmp.Diff(want, n.journal); diff != "" {
			t.Error(diff)
		}
		time.Sleep(2 * time.Hour) // the late end
	})
}
