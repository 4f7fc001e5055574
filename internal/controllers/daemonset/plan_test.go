package daemonset

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

var start = time.Unix(1_800_000_000, 0)

func set(surge, unavailable int) *appsv1.DaemonSet {
	s, u := intstr.FromInt(surge), intstr.FromInt(unavailable)
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "ns", UID: "d"},
		Spec: appsv1.DaemonSetSpec{
			Template:       v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}}},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &s, MaxUnavailable: &u}},
		},
	}
}

// cluster plays everything but the planner.
type cluster struct {
	snapshot
	made int
}

func newCluster(ds *appsv1.DaemonSet, nodes int) *cluster {
	c := &cluster{snapshot: snapshot{ds: ds, hash: "h1", now: start, held: func(string) time.Duration { return 0 }}}
	for i := range nodes {
		c.nodes = append(c.nodes, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}})
	}
	return c
}

func (c *cluster) step() step {
	c.now = c.now.Add(time.Second)
	s := plan(c.snapshot)
	for _, p := range s.remove {
		p.DeletionTimestamp = &metav1.Time{Time: c.now}
	}
	for _, node := range s.create {
		c.made++
		p := newPod(c.ds, node, c.hash)
		p.Name, p.UID, p.CreationTimestamp = fmt.Sprint("p", c.made), types.UID(fmt.Sprint("p", c.made)), metav1.NewTime(c.now)
		c.pods = append(c.pods, p)
	}
	return s
}

// move lets one pod go on: scheduled, ready, or gone.
func (c *cluster) move(p *v1.Pod) {
	switch {
	case p.DeletionTimestamp != nil:
		c.pods = slices.DeleteFunc(c.pods, func(o *v1.Pod) bool { return o == p })
	case p.Spec.NodeName == "":
		p.Spec.NodeName = nodeOf(p)
	default:
		p.Status.Phase = v1.PodRunning
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(c.now)}}
	}
}

func (c *cluster) settle() {
	for range 100 {
		for _, p := range slices.Clone(c.pods) {
			c.move(p)
		}
		c.step()
	}
}

func (c *cluster) serving() (nodes int) {
	for _, n := range c.nodes {
		if slices.ContainsFunc(c.pods, func(p *v1.Pod) bool {
			return p.Spec.NodeName == n.Name && p.DeletionTimestamp == nil && len(p.Status.Conditions) > 0
		}) {
			nodes++
		}
	}
	return nodes
}

// A rolling update never takes the set from more nodes than it may, and ends
// with one pod of the new template on every node.
func TestRollingUpdateStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		surge := rapid.IntRange(0, 2).Draw(t, "surge")
		unavailable := 0
		if surge == 0 {
			unavailable = rapid.IntRange(1, 3).Draw(t, "unavailable")
		}
		n := rapid.IntRange(1, 6).Draw(t, "nodes")
		c := newCluster(set(surge, unavailable), n)
		c.settle()
		if c.serving() != n || len(c.pods) != n {
			t.Fatalf("%d pods serve on %d nodes", c.serving(), n)
		}
		c.hash = "h2"
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "plan") || len(c.pods) == 0 {
				c.step()
			} else {
				c.move(rapid.SampledFrom(c.pods).Draw(t, "pod"))
			}
			if c.serving() < n-unavailable {
				t.Fatalf("%d of %d nodes served", c.serving(), n)
			}
			if len(c.pods) > n+max(surge, 0)+n { // terminating ones included
				t.Fatalf("%d pods on %d nodes", len(c.pods), n)
			}
		}
		c.settle()
		s := plan(c.snapshot)
		if got := s.status; int(got.UpdatedNumberScheduled) != n || int(got.NumberAvailable) != n || len(c.pods) != n {
			t.Fatalf("%+v", got)
		}
	})
}

func TestPodsFollowTheNodes(t *testing.T) {
	c := newCluster(set(0, 1), 3)
	c.ds.Spec.Template.Spec.NodeSelector = map[string]string{"want": "yes"}
	label := func(i int, v string) { c.nodes[i].Labels = map[string]string{"want": v} }
	label(0, "yes")
	label(1, "yes")
	c.nodes[1].Spec.Taints = []v1.Taint{{Key: v1.TaintNodeDiskPressure, Effect: v1.TaintEffectNoSchedule}}
	c.settle()
	if c.serving() != 2 {
		t.Fatalf("serves on %d nodes", c.serving())
	}
	label(0, "no")
	label(2, "yes")
	c.nodes[1].Spec.Taints = []v1.Taint{{Key: "other", Effect: v1.TaintEffectNoSchedule}}
	c.settle()
	st := plan(c.snapshot).status
	if len(c.pods) != 2 || st.DesiredNumberScheduled != 1 || st.NumberMisscheduled != 1 {
		t.Errorf("a pod on a node that was tainted later stays: %d pods, %+v", len(c.pods), st)
	}
	c.nodes[1].Spec.Taints[0].Effect = v1.TaintEffectNoExecute
	c.settle()
	if len(c.pods) != 1 || c.pods[0].Spec.NodeName != "n2" {
		t.Errorf("%d pods", len(c.pods))
	}
}

func TestFailedPodsAreReplacedInTime(t *testing.T) {
	c := newCluster(set(0, 1), 1)
	c.settle()
	c.pods[0].Status.Phase = v1.PodFailed
	c.held = func(string) time.Duration { return 3 * time.Second }
	if s := plan(c.snapshot); len(s.remove) != 0 || s.recheck != 3*time.Second {
		t.Errorf("%+v", s)
	}
	c.held = func(string) time.Duration { return 0 }
	s := plan(c.snapshot)
	if len(s.remove) != 1 || !slices.Equal(s.failed, []string{"n0"}) {
		t.Errorf("%+v", s)
	}
	if d := cmp.Diff("Found failed daemon pod ns/p1 on node n0, will try to kill it", s.events[0].message); d != "" {
		t.Error(d)
	}
}

func TestAPodForANodeThatIsGoneIsRemoved(t *testing.T) {
	c := newCluster(set(0, 1), 1)
	c.step()
	c.nodes = nil
	if s := plan(c.snapshot); len(s.remove) != 1 {
		t.Errorf("removes %d", len(s.remove))
	}
}

func TestNewPod(t *testing.T) {
	ds := set(0, 1)
	seconds := int64(5)
	ds.Annotations = map[string]string{appsv1.DeprecatedTemplateGeneration: "3"}
	ds.Spec.Template.Spec.HostNetwork = true
	ds.Spec.Template.Spec.Tolerations = []v1.Toleration{{Key: v1.TaintNodeNotReady, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute, TolerationSeconds: &seconds}}
	p := newPod(ds, "n1", "h")
	if nodeOf(p) != "n1" || p.Labels[generationLabel] != "3" || p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] != "h" {
		t.Errorf("node %s, labels %v", nodeOf(p), p.Labels)
	}
	if n := len(p.Spec.Tolerations); n != 7 || p.Spec.Tolerations[0].TolerationSeconds != nil {
		t.Errorf("%d tolerations: %v", n, p.Spec.Tolerations)
	}
	if len(ds.Spec.Template.Labels) != 1 || len(ds.Spec.Template.Spec.Tolerations) != 1 {
		t.Error("the template was changed")
	}
}
