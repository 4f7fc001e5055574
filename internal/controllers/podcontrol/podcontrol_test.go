package podcontrol

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var now = time.Unix(1_800_000_000, 0)

// pod that runs and has been ready for an hour.
func pod(name string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name), Labels: map[string]string{"app": "a"}, CreationTimestamp: metav1.NewTime(now.Add(-2 * time.Hour))},
		Spec:       v1.PodSpec{NodeName: "n"},
		Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func unscheduled(p *v1.Pod) { p.Spec.NodeName, p.Status.Phase = "", v1.PodPending; notReady(p) }
func pending(p *v1.Pod)     { p.Status.Phase = v1.PodPending; notReady(p) }
func notReady(p *v1.Pod)    { p.Status.Conditions[0].Status = v1.ConditionFalse }
func leaving(p *v1.Pod)     { p.DeletionTimestamp = &metav1.Time{Time: now} }
func justReady(p *v1.Pod) {
	p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-time.Second))
}
func crowded(p *v1.Pod)   { p.Spec.NodeName = "crowded" }
func restarted(p *v1.Pod) { p.Status.ContainerStatuses = []v1.ContainerStatus{{RestartCount: 3}} }
func cost(c string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Annotations = map[string]string{v1.PodDeletionCost: c} }
}
func of(owner string) func(*v1.Pod) {
	yes := true
	return func(p *v1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, UID: types.UID(owner), Controller: &yes}}
	}
}
func labelled(app string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Labels = map[string]string{"app": app} }
}

func names(pods []*v1.Pod) (names []string) {
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return names
}

func TestSortForDeletion(t *testing.T) {
	want := []*v1.Pod{
		pod("unscheduled", unscheduled), pod("pending", pending, cost("9")), pod("not-ready", notReady, cost("9")),
		pod("cheap", cost("-3")), pod("crowded", crowded), pod("just-ready", justReady), pod("restarted", restarted), pod("old"), pod("dear", cost("5")),
	}
	related := append(slices.Clone(want), pod("neighbour", crowded), pod("neighbour2", crowded),
		pod("n3", crowded), pod("n4", crowded), pod("n5", crowded), pod("n6", crowded), pod("n7", crowded), pod("n8", crowded), pod("n9", crowded))
	rapid.Check(t, func(t *rapid.T) {
		got := rapid.Permutation(want).Draw(t, "order")
		SortForDeletion(got, related, now)
		if d := cmp.Diff(names(want), names(got)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestSort(t *testing.T) {
	owner := &metav1.ObjectMeta{Name: "o", Namespace: "ns", UID: "o"}
	matches := Matching[*v1.Pod](labels.SelectorFromSet(labels.Set{"app": "a"}))
	pods := []*v1.Pod{
		pod("mine", of("o")), pod("mine-leaving", of("o"), leaving), pod("lost", of("o"), labelled("b")), pod("other", of("x")),
		pod("orphan"), pod("orphan-leaving", leaving), pod("stranger", labelled("b")),
	}
	c := Sort(owner, matches, pods)
	got := [][]string{names(c.Mine), names(c.Adopt), names(c.Release)}
	if d := cmp.Diff([][]string{{"mine", "mine-leaving"}, {"orphan"}, {"lost"}}, got); d != "" {
		t.Error(d)
	}
	owner.DeletionTimestamp = &metav1.Time{Time: now}
	c = Sort(owner, matches, pods)
	if len(c.Adopt)+len(c.Release) > 0 || len(c.Mine) != 2 {
		t.Errorf("an owner on its way out took or let go: %v %v", names(c.Adopt), names(c.Release))
	}
}

func TestAvailable(t *testing.T) {
	for name, c := range map[string]struct {
		pod  *v1.Pod
		min  int32
		want bool
		in   time.Duration
	}{
		"ready":            {pod("p"), 0, true, 0},
		"long enough":      {pod("p"), 3600, true, 0},
		"not long enough":  {pod("p", justReady), 10, false, 9 * time.Second},
		"not ready at all": {pod("p", notReady), 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got, in := Available(c.pod, c.min, now); got != c.want || in != c.in {
				t.Errorf("got %v in %v, want %v in %v", got, in, c.want, c.in)
			}
		})
	}
}

func TestSlowStartStopsAfterTheBatchThatFailed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, bad := rapid.IntRange(0, 40).Draw(t, "n"), int32(rapid.IntRange(0, 60).Draw(t, "good calls"))
		var calls atomic.Int32
		good, err := SlowStart(n, func(int) error {
			if calls.Add(1) > bad {
				return errors.New("quota")
			}
			return nil
		})
		if (err != nil) != (int(bad) < n) || good != min(int(bad), n) {
			t.Fatalf("%d good, err %v", good, err)
		}
		if got := int(calls.Load()); got > n || err != nil && got > 2*int(bad)+1 {
			t.Fatalf("%d calls though the %dth failed", got, bad+1)
		}
	})
}

func TestKeys(t *testing.T) {
	keys := Keys(schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}, func(*v1.Pod) []string { return []string{"ns/matching"} })
	for name, c := range map[string]struct {
		old, now any
		want     []string
	}{
		"controlled":        {pod("p", of("a")), pod("p", of("a")), []string{"ns/a"}},
		"deleted":           {pod("p", of("a")), nil, []string{"ns/a"}},
		"moved":             {pod("p", of("a")), pod("p", of("b")), []string{"ns/a", "ns/b"}},
		"new orphan":        {nil, pod("p"), []string{"ns/matching"}},
		"orphaned":          {pod("p", of("a")), pod("p"), []string{"ns/a", "ns/matching"}},
		"orphan as before":  {pod("p"), pod("p"), nil},
		"orphan relabelled": {pod("p"), pod("p", labelled("b")), []string{"ns/matching"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, keys(c.old, c.now)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHashDependsOnTheTemplateAndOnCollisions(t *testing.T) {
	a := v1.PodTemplateSpec{Spec: v1.PodSpec{Containers: []v1.Container{{Image: "a"}}}}
	b := *a.DeepCopy()
	one := int32(1)
	if Hash(&a, nil) != Hash(&b, nil) {
		t.Error("equal templates, two hashes")
	}
	if Hash(&a, nil) == Hash(&a, &one) {
		t.Error("a collision changes nothing")
	}
	if b.Spec.Containers[0].Image = "b"; Hash(&a, nil) == Hash(&b, nil) {
		t.Error("two templates, one hash")
	}
}
