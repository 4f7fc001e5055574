package deployment

import (
	"fmt"
	"strings"
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

func deployment(replicas int32, image string) *appsv1.Deployment {
	labels := map[string]string{"app": "a"}
	surge, unavailable := intstr.FromInt32(1), intstr.FromInt32(0)
	deadline, history := int32(600), int32(10)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "ns", UID: "d", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template:                v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: v1.PodSpec{Containers: []v1.Container{{Image: image}}}},
			ProgressDeadlineSeconds: &deadline, RevisionHistoryLimit: &history,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}},
		},
	}
}

// cluster plays API server and ReplicaSet controller: pods are numbers.
type cluster struct {
	d      *appsv1.Deployment
	sets   []*appsv1.ReplicaSet
	now    time.Time
	events []string
	broken string // pods of this image never become available
}

// step lets the planner look once and does what it says.
func (c *cluster) step() step {
	c.now = c.now.Add(time.Second)
	s := plan(c.d, c.sets, func(current *appsv1.ReplicaSet) bool {
		for _, rs := range c.sets {
			if (current == nil || rs.Name != current.Name) && rs.Status.Replicas+*rs.Status.TerminatingReplicas > 0 {
				return true
			}
		}
		return false
	}, c.now)
	for _, e := range s.events {
		c.events = append(c.events, e.message)
	}
	if s.template != nil {
		c.d = s.template
		c.d.Generation++
		return s
	}
	if s.create != nil {
		made := s.create.DeepCopy()
		made.UID, made.CreationTimestamp = types.UID(made.Name), metav1.NewTime(c.now)
		made.Status.TerminatingReplicas = new(int32)
		c.sets = append(c.sets, made)
	}
	for _, change := range s.change {
		for i, rs := range c.sets {
			if rs.Name == change.set.Name {
				c.sets[i] = change.set
			}
		}
	}
	for _, gone := range s.remove {
		for i, rs := range c.sets {
			if rs.Name == gone.Name {
				c.sets = append(c.sets[:i:i], c.sets[i+1:]...)
				break
			}
		}
	}
	c.d.Status = s.status
	if s.revision != "" {
		if c.d.Annotations == nil {
			c.d.Annotations = map[string]string{}
		}
		c.d.Annotations[revisionKey] = s.revision
	}
	return s
}

// run lets one set's pods move on: made, available, terminating, gone.
func (c *cluster) run(rs *appsv1.ReplicaSet, n int32) {
	st := &rs.Status
	st.ObservedGeneration = rs.Generation
	for range n {
		switch {
		case st.Replicas < size(rs):
			st.Replicas++
		case st.Replicas > size(rs):
			st.Replicas--
			*st.TerminatingReplicas++
			if st.AvailableReplicas > st.Replicas {
				st.AvailableReplicas, st.ReadyReplicas = st.Replicas, st.Replicas
			}
		case *st.TerminatingReplicas > 0:
			*st.TerminatingReplicas--
		case st.AvailableReplicas < st.Replicas && rs.Spec.Template.Spec.Containers[0].Image != c.broken:
			st.AvailableReplicas++
			st.ReadyReplicas++
		}
	}
}

// settle runs all until nothing moves.
func (c *cluster) settle(t interface{ Fatalf(string, ...any) }) {
	for range 500 {
		before := c.shown()
		for _, rs := range c.sets {
			c.run(rs, 1)
		}
		c.step()
		if c.shown() == before {
			return
		}
	}
	t.Fatalf("never settles: %s", c.shown())
}

// shown is the sets as image=size/available.
func (c *cluster) shown() string {
	var b strings.Builder
	for _, rs := range c.sets {
		fmt.Fprintf(&b, "%s=%d/%d/%d+%d ", rs.Spec.Template.Spec.Containers[0].Image, size(rs), rs.Status.Replicas, rs.Status.AvailableReplicas, *rs.Status.TerminatingReplicas)
	}
	return strings.TrimSpace(b.String())
}

func (c *cluster) update(image string) {
	c.d.Spec.Template.Spec.Containers[0].Image = image
	c.d.Generation++
}

func newCluster(d *appsv1.Deployment) *cluster { return &cluster{d: d, now: start} }

// A rollout never has more or fewer pods than its bounds allow, whatever the
// order in which pods come and go, and ends with all pods of the new template.
func TestRollingUpdateStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := deployment(int32(rapid.IntRange(1, 12).Draw(t, "replicas")), "v1")
		surge, unavailable := intstr.FromInt(rapid.IntRange(0, 5).Draw(t, "surge")), intstr.FromInt(rapid.IntRange(0, 5).Draw(t, "unavailable"))
		d.Spec.Strategy.RollingUpdate.MaxSurge, d.Spec.Strategy.RollingUpdate.MaxUnavailable = &surge, &unavailable
		c := newCluster(d)
		c.settle(t)
		for _, image := range rapid.SliceOfN(rapid.SampledFrom([]string{"v1", "v2", "v3"}), 1, 3).Draw(t, "images") {
			c.update(image)
			for range rapid.IntRange(0, 30).Draw(t, "steps") {
				if rapid.Bool().Draw(t, "plan") {
					c.step()
				} else {
					c.run(rapid.SampledFrom(c.sets).Draw(t, "set"), int32(rapid.IntRange(1, 4).Draw(t, "moves")))
				}
				if n := total(c.sets, size); n > wanted(c.d)+boundsOf(c.d).surge {
					t.Fatalf("%d pods wanted of %d: %s", n, wanted(c.d), c.shown())
				}
				// What is available now, or was when the planner looked, covers the minimum:
				// sets lose pods that serve only as far as they are told to.
				if n := total(c.sets, func(rs *appsv1.ReplicaSet) int32 { return min(rs.Status.AvailableReplicas, size(rs)) }); n < wanted(c.d)-boundsOf(c.d).unavailable {
					t.Fatalf("%d available of %d: %s", n, wanted(c.d), c.shown())
				}
			}
		}
		c.settle(t)
		if !isComplete(c.d, &c.d.Status) || conditionOf(c.d.Status.Conditions, appsv1.DeploymentProgressing).Reason != complete {
			t.Fatalf("not complete: %s %+v", c.shown(), c.d.Status)
		}
	})
}

func TestRecreateNeverRunsTwoTemplates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := deployment(int32(rapid.IntRange(1, 6).Draw(t, "replicas")), "v1")
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		c := newCluster(d)
		c.settle(t)
		c.update("v2")
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "plan") {
				c.step()
			} else {
				c.run(rapid.SampledFrom(c.sets).Draw(t, "set"), 1)
			}
			if current, old := split(c.d, c.sets); current != nil && size(current) > 0 {
				for _, rs := range old {
					if rs.Status.Replicas+*rs.Status.TerminatingReplicas > 0 {
						t.Fatalf("old pods beside new ones: %s", c.shown())
					}
				}
			}
		}
		c.settle(t)
		if !isComplete(c.d, &c.d.Status) {
			t.Fatalf("not complete: %s", c.shown())
		}
	})
}

func TestHistoryAndRollback(t *testing.T) {
	c := newCluster(deployment(2, "v1"))
	c.settle(t)
	c.update("v2")
	c.settle(t)
	if d := cmp.Diff("v1=0/0/0+0 v2=2/2/2+0", c.shown()); d != "" {
		t.Fatal(d)
	}
	c.d.Annotations[appsv1.DeprecatedRollbackTo] = "0" // to the one before
	c.step()
	c.settle(t)
	if d := cmp.Diff("v1=2/2/2+0 v2=0/0/0+0", c.shown()); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff([]string{`Rolled back deployment "d" to revision 1`}, c.events); d != "" {
		t.Error(d)
	}
	old := c.sets[0]
	if c.d.Annotations[revisionKey] != "3" || old.Annotations[revisionKey] != "3" || old.Annotations[historyKey] != "1" {
		t.Errorf("deployment %v, set %v", c.d.Annotations, old.Annotations)
	}
	none := int32(0)
	c.d.Spec.RevisionHistoryLimit = &none
	c.settle(t)
	if d := cmp.Diff("v1=2/2/2+0", c.shown()); d != "" {
		t.Error(d)
	}
}

func TestARolloutThatIsStuckTimesOut(t *testing.T) {
	c := newCluster(deployment(2, "v1"))
	c.settle(t)
	c.update("v2")
	c.broken = "v2"
	c.settle(t)
	s := c.step()
	if s.recheck < 9*time.Minute || s.recheck > 11*time.Minute {
		t.Errorf("looks again in %v", s.recheck)
	}
	c.now = c.now.Add(s.recheck)
	c.step()
	progressing := conditionOf(c.d.Status.Conditions, appsv1.DeploymentProgressing)
	if progressing.Reason != timedOut || progressing.Status != v1.ConditionFalse || !strings.HasSuffix(progressing.Message, `" has timed out progressing.`) {
		t.Errorf("%+v", progressing)
	}
	if d := cmp.Diff("v1=2/2/2+0 v2=1/1/0+0", c.shown()); d != "" {
		t.Error(d)
	}
}

func TestPausedDeploymentsScaleButDoNotRoll(t *testing.T) {
	c := newCluster(deployment(2, "v1"))
	c.settle(t)
	c.d.Spec.Paused = true
	c.update("v2")
	four := int32(4)
	c.d.Spec.Replicas = &four
	c.settle(t)
	if d := cmp.Diff("v1=4/4/4+0", c.shown()); d != "" {
		t.Error(d)
	}
	if p := conditionOf(c.d.Status.Conditions, appsv1.DeploymentProgressing); p.Reason != paused || p.Message != "Deployment is paused" {
		t.Errorf("%+v", p)
	}
	c.d.Spec.Paused = false
	c.settle(t)
	if d := cmp.Diff("v1=0/0/0+0 v2=4/4/4+0", c.shown()); d != "" {
		t.Error(d)
	}
}

func TestProportions(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int32
		sizes, want   []int32 // oldest first
	}{
		"up":              {10, 30, []int32{8, 5}, []int32{20, 13}},
		"down":            {10, 5, []int32{8, 5}, []int32{5, 3}},
		"same, newer up":  {10, 14, []int32{6, 6}, []int32{8, 9}},
		"to nothing":      {10, 0, []int32{8, 5}, []int32{0, 0}},
		"from three sets": {10, 20, []int32{5, 5, 3}, []int32{9, 9, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment(c.before, "v")
			three := intstr.FromInt32(3)
			d.Spec.Strategy.RollingUpdate.MaxSurge = &three
			var sets []*appsv1.ReplicaSet
			for i, n := range c.sizes {
				rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), CreationTimestamp: metav1.NewTime(start.Add(time.Duration(i) * time.Hour))}}
				resize(d, rs, n)
				sets = append(sets, rs)
			}
			d.Spec.Replicas = &c.after
			proportions(d, append([]*appsv1.ReplicaSet(nil), sets...))
			var got []int32
			for _, rs := range sets {
				got = append(got, size(rs))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHistoryIsCut(t *testing.T) {
	h := ""
	for i := range 1000 {
		h = history(h, fmt.Sprint(1000+i))
	}
	if len(h) > maxHistory || !strings.HasSuffix(h, ",1999") {
		t.Errorf("%d characters, ends with %s", len(h), h[len(h)-10:])
	}
}
