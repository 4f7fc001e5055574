package statefulset

import (
	"fmt"
	"slices"
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

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

var epoch = time.Unix(1_800_000_000, 0)

func ptr[T any](v T) *T { return &v }

func set(replicas int32, change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns", UID: "s"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, PodManagementPolicy: appsv1.OrderedReadyPodManagement, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr(int32(0))}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func parallel(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }

// cluster plays everything but the planner.
type cluster struct {
	snapshot
	made int
}

func newCluster(s *appsv1.StatefulSet) *cluster {
	c := &cluster{snapshot: snapshot{set: s, now: epoch, staleClaims: func(*v1.Pod) bool { return false }}}
	c.update = version{"r1", &v1.PodTemplateSpec{}}
	c.current = c.update
	return c
}

func (c *cluster) step() step {
	c.now = c.now.Add(time.Second)
	s := plan(c.snapshot)
	for _, p := range s.remove {
		p.DeletionTimestamp = &metav1.Time{Time: c.now}
	}
	for _, p := range s.create {
		c.made++
		p.UID, p.CreationTimestamp, p.Status.Phase = types.UID(fmt.Sprint(c.made)), metav1.NewTime(c.now), v1.PodPending
		c.pods = append(c.pods, p)
	}
	c.set.Status = s.status
	if c.set.Status.CurrentRevision == c.update.name {
		c.current = c.update
	}
	return s
}

func (c *cluster) move(p *v1.Pod) {
	if p.DeletionTimestamp != nil {
		c.pods = slices.DeleteFunc(c.pods, func(o *v1.Pod) bool { return o == p })
		return
	}
	p.Status.Phase = v1.PodRunning
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(c.now)}}
}

func (c *cluster) settle() {
	for range 80 {
		for _, p := range slices.Clone(c.pods) {
			c.move(p)
		}
		c.step()
	}
}

func (c *cluster) shown() string {
	var shown []string
	for _, p := range c.pods {
		state := ""
		if !podcontrol.Ready(p) {
			state = "?"
		}
		if p.DeletionTimestamp != nil {
			state = "-"
		}
		shown = append(shown, p.Name+"@"+revisionOf(p)+state)
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

func (c *cluster) serves(ordinal int) bool {
	return slices.ContainsFunc(c.pods, func(p *v1.Pod) bool {
		o, _ := ordinalOf(c.set, p)
		return o == ordinal && p.DeletionTimestamp == nil && podcontrol.Ready(p)
	})
}

// In an ordered set a pod starts only when all before it serve, one at a time;
// whatever is changed meanwhile, the set arrives where it is told to.
// holdsUp: an ending pod has to be gone before p is ended, but for one that is too
// many as well and comes before it.
func holdsUp(set *appsv1.StatefulSet, ending, p *v1.Pod) bool {
	e, _ := ordinalOf(set, ending)
	o, _ := ordinalOf(set, p)
	return e > o || e < o && e < start(set)+wanted(set)
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(set(int32(rapid.IntRange(0, 4).Draw(t, "replicas"))))
		if rapid.Bool().Draw(t, "start at 3") {
			c.set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 3}
		}
		revisions := 1
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				c.set.Spec.Replicas = ptr(int32(rapid.IntRange(0, 4).Draw(t, "scale")))
			case 1:
				revisions++
				c.update = version{fmt.Sprint("r", revisions), &v1.PodTemplateSpec{}}
			case 2, 3, 4, 5:
				if len(c.pods) > 0 {
					c.move(rapid.SampledFrom(c.pods).Draw(t, "pod"))
				}
			default:
				before := slices.Clone(c.pods)
				s := c.step()
				if len(s.create)+len(s.remove) > 1 {
					t.Fatalf("%d made and %d ended at once", len(s.create), len(s.remove))
				}
				for _, p := range s.create {
					o, _ := ordinalOf(c.set, p)
					for i := start(c.set); i < o; i++ {
						if !c.serves(i) {
							t.Fatalf("%s started before %d served: %s", p.Name, i, c.shown())
						}
					}
				}
				for _, p := range s.remove {
					if slices.ContainsFunc(before, func(o *v1.Pod) bool { return o.DeletionTimestamp != nil && holdsUp(c.set, o, p) }) {
						t.Fatalf("%s ended while another one was ending: %s", p.Name, c.shown())
					}
				}
			}
		}
		c.settle()
		var want []string
		for i := range wanted(c.set) {
			want = append(want, fmt.Sprintf("s-%d@%s", start(c.set)+i, c.update.name))
		}
		if d := cmp.Diff(strings.Join(want, " "), c.shown()); d != "" {
			t.Fatal(d)
		}
		if c.set.Status.CurrentRevision != c.update.name || int(c.set.Status.AvailableReplicas) != wanted(c.set) {
			t.Fatalf("%+v", c.set.Status)
		}
	})
}

func TestPartition(t *testing.T) {
	c := newCluster(set(3))
	c.settle()
	c.set.Spec.UpdateStrategy.RollingUpdate.Partition = ptr(int32(2))
	c.update = version{"r2", &v1.PodTemplateSpec{}}
	c.settle()
	if d := cmp.Diff("s-0@r1 s-1@r1 s-2@r2", c.shown()); d != "" {
		t.Fatal(d)
	}
	c.pods[0].DeletionTimestamp = &metav1.Time{Time: c.now} // comes back as it was
	c.settle()
	if d := cmp.Diff("s-0@r1 s-1@r1 s-2@r2", c.shown()); d != "" {
		t.Fatal(d)
	}
	if st := c.set.Status; st.CurrentRevision != "r1" || st.UpdateRevision != "r2" || st.CurrentReplicas != 2 || st.UpdatedReplicas != 1 {
		t.Errorf("%+v", st)
	}
	c.set.Spec.UpdateStrategy.RollingUpdate.Partition = ptr(int32(0))
	c.settle()
	if d := cmp.Diff("s-0@r2 s-1@r2 s-2@r2", c.shown()); d != "" {
		t.Fatal(d)
	}
}

func TestOnDeleteWaitsForThePodToGo(t *testing.T) {
	c := newCluster(set(2, func(s *appsv1.StatefulSet) {
		s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	}))
	c.settle()
	c.update = version{"r2", &v1.PodTemplateSpec{}}
	c.settle()
	if d := cmp.Diff("s-0@r1 s-1@r1", c.shown()); d != "" {
		t.Fatal(d)
	}
	c.pods[0].DeletionTimestamp = &metav1.Time{Time: c.now}
	c.settle()
	if d := cmp.Diff("s-0@r2 s-1@r1", c.shown()); d != "" {
		t.Fatal(d)
	}
}

func TestParallelSetsDoAllAtOnce(t *testing.T) {
	c := newCluster(set(3, parallel))
	if s := c.step(); len(s.create) != 3 {
		t.Fatalf("makes %d", len(s.create))
	}
	c.settle()
	c.set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = ptr(intstr.FromInt32(2))
	c.update = version{"r2", &v1.PodTemplateSpec{}}
	if s := c.step(); len(s.remove) != 2 {
		t.Fatalf("ends %d of at most two", len(s.remove))
	}
	c.settle()
	c.set.Spec.Replicas = ptr(int32(0))
	if s := c.step(); len(s.remove) != 3 {
		t.Errorf("ends %d", len(s.remove))
	}
}

func TestEndedPodsAreMadeAgain(t *testing.T) {
	c := newCluster(set(1))
	c.settle()
	c.pods[0].Status.Phase = v1.PodFailed
	c.step()
	c.settle()
	if d := cmp.Diff("s-0@r1", c.shown()); d != "" || c.made != 2 {
		t.Errorf("%d made, %s", c.made, d)
	}
}

func TestStaleClaimsHoldAPodBack(t *testing.T) {
	c := newCluster(set(1))
	c.staleClaims = func(*v1.Pod) bool { return true }
	if s := c.step(); len(s.create) != 0 {
		t.Error("a pod was made on claims that are about to go")
	}
}

func TestClaimOwners(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "s-0", UID: "p"}}
	beyond := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "s-5", UID: "p"}}
	policy := func(deleted, scaled string) *appsv1.StatefulSet {
		return set(1, func(s *appsv1.StatefulSet) {
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenDeleted: appsv1.PersistentVolumeClaimRetentionPolicyType(deleted), WhenScaled: appsv1.PersistentVolumeClaimRetentionPolicyType(scaled)}
		})
	}
	for name, c := range map[string]struct {
		set  *appsv1.StatefulSet
		pod  *v1.Pod
		want types.UID
	}{
		"retained":               {set(1), pod, ""},
		"goes with the set":      {policy("Delete", "Retain"), pod, "s"},
		"goes with the set, too": {policy("Delete", "Retain"), beyond, "s"},
		"scaled away":            {policy("Retain", "Delete"), beyond, "p"},
		"not scaled away":        {policy("Retain", "Delete"), pod, ""},
		"both, scaled away":      {policy("Delete", "Delete"), beyond, "p"},
		"both, not scaled away":  {policy("Delete", "Delete"), pod, "s"},
	} {
		t.Run(name, func(t *testing.T) {
			claim := &v1.PersistentVolumeClaim{}
			for range 2 {
				refs, changed, _ := claimOwners(c.set, c.pod, claim)
				got := types.UID("")
				if len(refs) == 1 {
					got = refs[0].UID
				}
				if got != c.want || len(refs) > 1 || changed != !sameOwners(claim.OwnerReferences, refs) {
					t.Errorf("owners %v, changed %v", refs, changed)
				}
				claim.OwnerReferences = refs
			}
			other := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: Kind.Kind, Name: "s", UID: "an earlier one"}}}}
			if _, changed, _ := claimOwners(c.set, c.pod, other); changed {
				t.Error("a claim of an earlier set was touched")
			}
		})
	}
}

func TestNewPodHasItsIdentityAndVolumes(t *testing.T) {
	s := set(1, func(s *appsv1.StatefulSet) {
		s.Spec.ServiceName = "svc"
		s.Spec.VolumeClaimTemplates = []v1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	})
	p := newPod(s, &v1.PodTemplateSpec{Spec: v1.PodSpec{Volumes: []v1.Volume{{Name: "data"}, {Name: "x"}}}}, "r", 4)
	if p.Name != "s-4" || p.Spec.Hostname != "s-4" || p.Spec.Subdomain != "svc" || p.Labels[appsv1.PodIndexLabel] != "4" {
		t.Errorf("%s %s %s %v", p.Name, p.Spec.Hostname, p.Spec.Subdomain, p.Labels)
	}
	if len(p.Spec.Volumes) != 2 || p.Spec.Volumes[1].PersistentVolumeClaim.ClaimName != "data-s-4" {
		t.Errorf("%+v", p.Spec.Volumes)
	}
	if claims := newClaims(s, 4); claims[0].Name != "data-s-4" || claims[0].Labels["app"] != "a" {
		t.Errorf("%+v", claims[0].ObjectMeta)
	}
}
