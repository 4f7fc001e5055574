package nodelifecycle

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTaintsFollowConditions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	own := v1.Taint{Key: "mine", Effect: v1.TaintEffectNoSchedule}
	for name, c := range map[string]struct {
		ready         v1.ConditionStatus
		unschedulable bool
		disk          v1.ConditionStatus
		want          string
	}{
		"ready":         {v1.ConditionTrue, false, v1.ConditionFalse, "mine:NoSchedule "},
		"not ready":     {v1.ConditionFalse, false, "", "mine:NoSchedule node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute "},
		"unreachable":   {v1.ConditionUnknown, false, "", "mine:NoSchedule node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute "},
		"cordoned":      {v1.ConditionTrue, true, "", "mine:NoSchedule node.kubernetes.io/unschedulable:NoSchedule "},
		"disk pressure": {v1.ConditionTrue, false, v1.ConditionTrue, "mine:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule "},
	} {
		node := &v1.Node{}
		node.Spec.Taints = []v1.Taint{own, {Key: v1.TaintNodeNotReady, Effect: v1.TaintEffectNoSchedule}}
		node.Spec.Unschedulable = c.unschedulable
		node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: c.ready}, {Type: v1.NodeDiskPressure, Status: c.disk}}
		got := ""
		for _, taint := range taintsFor(node, now) {
			got += fmt.Sprintf("%s:%s ", taint.Key, taint.Effect)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestATaintKeepsItsTime(t *testing.T) {
	then := metav1.Unix(1_600_000_000, 0)
	node := &v1.Node{}
	node.Spec.Taints = []v1.Taint{{Key: v1.TaintNodeUnreachable, Effect: v1.TaintEffectNoExecute, TimeAdded: &then}}
	node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown}}
	for _, taint := range taintsFor(node, time.Unix(1_700_000_000, 0)) {
		if taint.Effect == v1.TaintEffectNoExecute && !taint.TimeAdded.Equal(&then) {
			t.Errorf("time added moved to %v", taint.TimeAdded)
		}
	}
}

func TestASilentNodeIsUnknown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	node := &v1.Node{}
	node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(now.Add(-time.Minute))}}
	renewed := metav1.NewMicroTime(now.Add(-2 * time.Second))
	if heard := lastHeard(node, &renewed); !heard.Equal(renewed.Time) {
		t.Errorf("heard %v, want the lease's %v", heard, renewed)
	}
	for _, c := range silenced(node, now) {
		if c.Status != v1.ConditionUnknown {
			t.Errorf("%s is %s", c.Type, c.Status)
		}
	}
	if again := silenced(&v1.Node{Status: v1.NodeStatus{Conditions: silenced(node, now)}}, now.Add(time.Hour)); !again[0].LastTransitionTime.Time.Equal(now) {
		t.Error("a condition that stays Unknown moved its transition time")
	}
}

func TestOnlyReadyPodsOfTheNodeAreTakenOut(t *testing.T) {
	pod := func(node string, ready v1.ConditionStatus) *v1.Pod {
		return &v1.Pod{Spec: v1.PodSpec{NodeName: node}, Status: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: ready}}}}
	}
	mine := pod("n", v1.ConditionTrue)
	got := serving([]*v1.Pod{pod("other", v1.ConditionTrue), mine, pod("n", v1.ConditionFalse), {Spec: v1.PodSpec{NodeName: "n"}}}, "n")
	if len(got) != 1 || got[0] != mine {
		t.Errorf("%d pods", len(got))
	}
}
