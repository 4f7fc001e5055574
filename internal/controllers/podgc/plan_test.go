package podgc

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	pod := func(name, node string, phase v1.PodPhase, deleted bool) *v1.Pod {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Spec.NodeName, p.Status.Phase = node, phase
		if deleted {
			p.DeletionTimestamp = &metav1.Time{Time: now}
		}
		return p
	}
	pods := []*v1.Pod{
		pod("fine", "here", v1.PodRunning, false),
		pod("stopping", "here", v1.PodRunning, true),
		pod("orphan", "gone", v1.PodRunning, false),
		pod("ended-orphan", "gone", v1.PodSucceeded, false),
		pod("perhaps", "just-gone", v1.PodRunning, false),
		pod("pending", "", v1.PodPending, false),
		pod("never-placed", "", v1.PodPending, true),
	}
	missing := map[string]time.Time{"gone": now.Add(-time.Minute), "just-gone": now.Add(-time.Second)}
	got := ""
	for _, r := range plan(pods, missing, now) {
		got += fmt.Sprintln(r.pod.Name, r.fail, r.message)
	}
	want := "orphan true PodGC: node no longer exists\n" +
		"ended-orphan false PodGC: node no longer exists\n" +
		"never-placed true PodGC: unscheduled pod was deleted\n"
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestPlanRemovesTheOldestOfTooManyEndedPods(t *testing.T) {
	var pods []*v1.Pod
	for i := range keep + 2 {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), CreationTimestamp: metav1.Unix(int64(keep-i), 0)}}
		p.Status.Phase = v1.PodFailed
		pods = append(pods, p)
	}
	got := plan(pods, nil, time.Unix(0, 0))
	if len(got) != 2 || got[0].pod.Name != fmt.Sprint(keep+1) || got[1].pod.Name != fmt.Sprint(keep) || got[0].fail {
		t.Errorf("got %v", got)
	}
}
