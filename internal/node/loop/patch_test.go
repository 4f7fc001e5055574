package loop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"pgregory.net/rapid"
)

func TestStatusPatch(t *testing.T) {
	object := aPod()
	object.Status.Conditions = []v1.PodCondition{{Type: "other", Status: v1.ConditionTrue}, {Type: v1.PodReady, Status: v1.ConditionFalse, Message: "m"}}
	same, err := statusPatch(object, object.Status)
	if err != nil || same != nil {
		t.Errorf("nothing changed, yet: %s %v", same, err)
	}
	changed := *object.Status.DeepCopy()
	changed.Conditions[1] = v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionTrue, Reason: "r"}
	got, err := statusPatch(object, changed)
	const want = `{"metadata":{"uid":"u"},"status":{"$setElementOrder/conditions":[{"type":"other"},{"type":"Ready"}],` +
		`"conditions":[{"message":null,"reason":"r","status":"True","type":"Ready"}]}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s %v", got, err)
	}
}

// TestStatusPatchApplies: what the API makes of the patch is the new status, from
// whatever status to whatever other.
func TestStatusPatchApplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawStatus(t, "before"), drawStatus(t, "after")
		object := &v1.Pod{Status: before}
		patch, err := statusPatch(object, after)
		if err != nil {
			t.Fatal(err)
		}
		if patch == nil {
			if !equality.Semantic.DeepEqual(ordered(before), ordered(after)) {
				t.Fatalf("no patch from %v to %v", before, after)
			}
			return
		}
		old, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		data, err := strategicpatch.StrategicMergePatch(old, patch, v1.Pod{})
		if err != nil {
			t.Fatalf("%v\n%s", err, patch)
		}
		var got v1.Pod
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(ordered(got.Status), ordered(after)) {
			t.Fatalf("%s\n%s", patch, cmp.Diff(after, got.Status))
		}
	})
}

// ordered is a status without the order of its conditions.
func ordered(s v1.PodStatus) v1.PodStatus {
	s = *s.DeepCopy()
	slices.SortFunc(s.Conditions, func(a, b v1.PodCondition) int { return strings.Compare(string(a.Type), string(b.Type)) })
	return s
}

func drawStatus(t *rapid.T, name string) v1.PodStatus {
	some := func(what string) bool { return rapid.Bool().Draw(t, name+" "+what) }
	at := metav1.NewTime(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Local())
	var s v1.PodStatus
	s.Phase = rapid.SampledFrom([]v1.PodPhase{"", v1.PodPending, v1.PodRunning}).Draw(t, name+" phase")
	if some("message") {
		s.Message, s.StartTime = "m", &at
	}
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]v1.PodConditionType{"a", "b", "c", "d"}), 0, 4, rapid.ID).Draw(t, name+" conditions") {
		c := v1.PodCondition{Type: kind, Status: rapid.SampledFrom([]v1.ConditionStatus{"True", "False"}).Draw(t, "status")}
		if some("reason") {
			c.Reason, c.Message, c.LastTransitionTime, c.ObservedGeneration = "R", "m", at, 2
		}
		s.Conditions = append(s.Conditions, c)
	}
	for _, ip := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "fd00::1"}), 0, 2, rapid.ID).Draw(t, name+" ips") {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, name+" containers") {
		c := v1.ContainerStatus{Name: string(rune('a' + i)), RestartCount: rapid.Int32Range(0, 2).Draw(t, "restarts")}
		if some("running") {
			c.State.Running = &v1.ContainerStateRunning{StartedAt: at}
		}
		s.ContainerStatuses = append(s.ContainerStatuses, c)
	}
	if some("resources") {
		list := v1.ResourceList{}
		for _, r := range rapid.SliceOfNDistinct(rapid.SampledFrom([]v1.ResourceName{"cpu", "memory"}), 1, 2, rapid.ID).Draw(t, "of") {
			list[r] = *resource.NewQuantity(rapid.Int64Range(1, 2).Draw(t, "amount"), resource.DecimalSI)
		}
		s.AllocatedResources, s.Resources = list, &v1.ResourceRequirements{Limits: list}
	}
	return s
}

func BenchmarkStatusPatch(b *testing.B) {
	object := aPod()
	object.Status.Phase = v1.PodPending
	for _, kind := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		object.Status.Conditions = append(object.Status.Conditions, v1.PodCondition{Type: kind, Status: v1.ConditionFalse})
	}
	object.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "app", Image: "nginx"}}
	after := *object.Status.DeepCopy()
	after.Phase = v1.PodRunning
	after.Conditions[2].Status, after.Conditions[3].Status = v1.ConditionTrue, v1.ConditionTrue
	after.ContainerStatuses[0].State.Running = &v1.ContainerStateRunning{StartedAt: metav1.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := statusPatch(object, after); err != nil {
			b.Fatal(err)
		}
	}
}
