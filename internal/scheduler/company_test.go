package scheduler

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func labeled(pairs ...string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Labels = set(pairs) }
}

func set(pairs []string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

func inZone(zone string) func(*v1.Node) {
	return func(n *v1.Node) { n.Labels["zone"] = zone }
}

func in(namespace string) func(*v1.Pod) { return func(p *v1.Pod) { p.Namespace = namespace } }

func selecting(pairs ...string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: set(pairs)}
}

func affinityOf(p *v1.Pod) *v1.Affinity {
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &v1.Affinity{PodAffinity: &v1.PodAffinity{}, PodAntiAffinity: &v1.PodAntiAffinity{}}
	}
	return p.Spec.Affinity
}

func near(key string, s *metav1.LabelSelector, change ...func(*v1.PodAffinityTerm)) func(*v1.Pod) {
	return func(p *v1.Pod) {
		t := v1.PodAffinityTerm{TopologyKey: key, LabelSelector: s}
		for _, f := range change {
			f(&t)
		}
		a := affinityOf(p).PodAffinity
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, t)
	}
}

func far(key string, s *metav1.LabelSelector) func(*v1.Pod) {
	return func(p *v1.Pod) {
		a := affinityOf(p).PodAntiAffinity
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, v1.PodAffinityTerm{TopologyKey: key, LabelSelector: s})
	}
}

func rather(weight int32, key string, s *metav1.LabelSelector) func(*v1.Pod) {
	return func(p *v1.Pod) {
		a := affinityOf(p)
		term := v1.PodAffinityTerm{TopologyKey: key, LabelSelector: s}
		if weight > 0 {
			a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []v1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: term}}
		} else {
			a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []v1.WeightedPodAffinityTerm{{Weight: -weight, PodAffinityTerm: term}}
		}
	}
}

func spreading(key string, skew int32, s *metav1.LabelSelector, change ...func(*v1.TopologySpreadConstraint)) func(*v1.Pod) {
	return func(p *v1.Pod) {
		t := v1.TopologySpreadConstraint{TopologyKey: key, MaxSkew: skew, LabelSelector: s, WhenUnsatisfiable: v1.DoNotSchedule}
		for _, f := range change {
			f(&t)
		}
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, t)
	}
}

func anyway(t *v1.TopologySpreadConstraint) { t.WhenUnsatisfiable = v1.ScheduleAnyway }

func minDomains(n int32) func(*v1.TopologySpreadConstraint) {
	return func(t *v1.TopologySpreadConstraint) { t.MinDomains = &n }
}

func honorTaints(t *v1.TopologySpreadConstraint) {
	honor := v1.NodeInclusionPolicyHonor
	t.NodeTaintsPolicy = &honor
}

func perVersion(t *v1.TopologySpreadConstraint) { t.MatchLabelKeys = []string{"version"} }

// threeZones: a1 and a2 in zone a, b1 in b, and lost in none.
func threeZones() []*v1.Node {
	return []*v1.Node{makeNode("a1", "4", inZone("a")), makeNode("a2", "4", inZone("a")), makeNode("b1", "4", inZone("b")), makeNode("lost", "4")}
}

const web = "web"

func TestW8Company(t *testing.T) {
	app := selecting("app", web)
	webOn := func(name, node string, change ...func(*v1.Pod)) *v1.Pod {
		return makePod(name, "100m", append([]func(*v1.Pod){labeled("app", web), on(node)}, change...)...)
	}
	everywhere := func(t *v1.PodAffinityTerm) { t.NamespaceSelector = &metav1.LabelSelector{} }
	blue := func(t *v1.PodAffinityTerm) { t.NamespaceSelector = selecting("team", "blue") }
	for name, c := range map[string]struct {
		there []*v1.Pod
		pod   *v1.Pod
		want  string
	}{
		"near another in its zone": {
			there: []*v1.Pod{webOn("x", "b1")}, pod: makePod("p", "1", near("zone", app)), want: "b1",
		},
		"near nobody": {
			pod:  makePod("p", "1", near("zone", app)),
			want: "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
		},
		"the first of a group is near itself": {pod: makePod("p", "1", labeled("app", web), near("zone", app)), want: "a1"},
		"near a pod of another namespace only if asked": {
			there: []*v1.Pod{webOn("x", "b1", in("other"))}, pod: makePod("p", "1", near("zone", app)),
			want: "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
		},
		"near a pod of any namespace": {
			there: []*v1.Pod{webOn("x", "b1", in("other"))}, pod: makePod("p", "1", near("zone", app, everywhere)), want: "b1",
		},
		"near a pod of a selected namespace": {
			there: []*v1.Pod{webOn("x", "a2", in("other")), webOn("y", "b1", in("theirs"))}, pod: makePod("p", "1", near("zone", app, blue)), want: "b1",
		},
		"one pod must match all terms": {
			there: []*v1.Pod{webOn("x", "a1"), makePod("y", "1", on("b1"), labeled("tier", "front"))},
			pod:   makePod("p", "1", near("zone", app), near("zone", selecting("tier", "front"))),
			want:  "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
		},
		"far from another": {
			there: []*v1.Pod{webOn("x", "a1")}, pod: makePod("p", "1", labeled("app", web), far("zone", app)), want: "b1",
		},
		"far from all": {
			there: []*v1.Pod{webOn("x", "a1"), webOn("y", "a2"), webOn("z", "b1"), webOn("l", "lost")},
			pod:   makePod("p", "1", far("kubernetes.io/hostname", app)),
			want:  "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules. preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod.",
		},
		"others want it far": {
			there: []*v1.Pod{makePod("x", "1", on("a1"), far("zone", app)), makePod("y", "1", on("b1"), far("zone", app)), makePod("z", "1", on("lost"), far("kubernetes.io/hostname", app))},
			pod:   makePod("p", "1", labeled("app", web)),
			want:  "0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod.",
		},
		"rather near":       {there: []*v1.Pod{webOn("x", "b1")}, pod: makePod("p", "1", rather(100, "zone", app)), want: "b1"},
		"rather far":        {there: []*v1.Pod{webOn("x", "a1")}, pod: makePod("p", "1", rather(-100, "zone", app)), want: "b1"},
		"others rather far": {there: []*v1.Pod{makePod("x", "1m", on("a1"), rather(-100, "zone", app))}, pod: makePod("p", "1", labeled("app", web)), want: "b1"},

		"spread over zones": {
			there: []*v1.Pod{webOn("x", "a1")}, pod: makePod("p", "1", labeled("app", web), spreading("zone", 1, app)), want: "b1",
		},
		"spread counts no pod that is ending": {
			there: []*v1.Pod{webOn("x", "b1", func(p *v1.Pod) { p.DeletionTimestamp = &metav1.Time{} }), webOn("y", "a1")},
			pod:   makePod("p", "1", labeled("app", web), spreading("zone", 1, app)), want: "b1",
		},
		"too few places": {
			there: []*v1.Pod{webOn("x", "a1"), webOn("y", "b1")}, pod: makePod("p", "1", labeled("app", web), spreading("zone", 1, app, minDomains(3))),
			want: "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 3 node(s) didn't match pod topology spread constraints. preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.",
		},
		"a tainted node's zone is to be filled": {
			there: []*v1.Pod{webOn("x", "a1")}, pod: makePod("p", "1", labeled("app", web), spreading("zone", 1, app), nodeSelector("zone", "a")), want: "a2",
		},
		"each version on its own": {
			there: []*v1.Pod{webOn("x", "b1", labeled("app", web, "version", "1")), webOn("y", "a1", labeled("app", web, "version", "2"))},
			pod:   makePod("p", "1", labeled("app", web, "version", "2"), spreading("zone", 1, app, perVersion)), want: "b1",
		},
		"rather spread": {
			there: []*v1.Pod{webOn("x", "a1"), webOn("y", "a2")}, pod: makePod("p", "1", labeled("app", web), spreading("zone", 1, app, anyway)), want: "b1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := NewCluster()
			cluster.SetNamespace("", nil)
			cluster.SetNamespace("other", nil)
			cluster.SetNamespace("theirs", map[string]string{"team": "blue"})
			for _, n := range threeZones() {
				cluster.SetNode(n)
			}
			for _, p := range c.there {
				cluster.SetPod(p)
			}
			expectPlaced(t, cluster, c.pod, c.want)
		})
	}
}

func nodeSelector(key, value string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}

func expectPlaced(t *testing.T, cluster *Cluster, pod *v1.Pod, want string) {
	t.Helper()
	got, why := cluster.Place(Wish{Pod: pod})
	if why != nil {
		why.Preempt(nil, 0)
		got = why.Error()
	}
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A node that the pod may not go to is no place that is to be filled first, if
// the constraint honors taints.
func TestW8SpreadHonorsTaints(t *testing.T) {
	app := selecting("app", web)
	cluster := NewCluster()
	cluster.SetNode(makeNode("a", "4", inZone("a")))
	cluster.SetNode(makeNode("b", "4", inZone("b"), tainted("k", v1.TaintEffectNoSchedule)))
	cluster.SetPod(makePod("x", "1", on("a"), labeled("app", web)))
	expectPlaced(t, cluster, makePod("p", "1", labeled("app", web), spreading("zone", 1, app, honorTaints)), "a")
	expectPlaced(t, cluster, makePod("p", "1", labeled("app", web), spreading("zone", 1, app)),
		"0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint(s). preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.")
}

// Pods of one Service spread over hosts though nobody said so.
func TestW8GroupsSpread(t *testing.T) {
	cluster := NewCluster()
	for _, n := range []string{"a", "b", "c"} {
		cluster.SetNode(makeNode(n, "4"))
		cluster.SetPod(makePod("filler-"+n, "1", on(n)))
	}
	cluster.SetPod(makePod("x", "1m", on("a"), labeled("app", web)))
	cluster.SetPod(makePod("y", "1m", on("b"), labeled("app", web)))
	got, why := cluster.Place(Wish{Pod: makePod("p", "1m", labeled("app", web)), Group: selectorOf(selecting("app", web))})
	if got != "c" {
		t.Errorf("on %q, want c: %v", got, why)
	}
}

func TestW8NamedNodes(t *testing.T) {
	cluster := NewCluster()
	cluster.SetNode(makeNode("a", "4"))
	cluster.SetNode(makeNode("b", "1"))
	pod := makePod("p", "2")
	pod.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{
		{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"b"}}}}}}}}
	expectPlaced(t, cluster, pod, "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
}

func TestW8ImagesThatAreThere(t *testing.T) {
	cluster := NewCluster()
	cluster.SetNode(makeNode("a", "4"))
	cluster.SetNode(makeNode("b", "4", func(n *v1.Node) {
		n.Status.Images = []v1.ContainerImage{{Names: []string{"docker.io/library/big:latest"}, SizeBytes: 900 << 20}}
	}))
	pod := makePod("p", "1")
	pod.Spec.Containers[0].Image = "docker.io/library/big"
	expectPlaced(t, cluster, pod, "b")
}
