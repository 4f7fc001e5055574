package scheduler

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func priority(n int32) func(*v1.Pod) { return func(p *v1.Pod) { p.Spec.Priority = &n } }

func startedAt(minute int64) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Status.StartTime = &metav1.Time{Time: time.Unix(60*minute, 0)} }
}

func budget(allowed int32, pairs ...string) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{Selector: selecting(pairs...)}, Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed}}
}

func TestW8Preemption(t *testing.T) {
	never := v1.PreemptNever
	for name, c := range map[string]struct {
		there   []*v1.Pod
		budgets []*policyv1.PodDisruptionBudget
		pod     *v1.Pod
		want    string // node: victims, or the message about it
	}{
		"the only lower one": {
			there: []*v1.Pod{makePod("x", "3", on("a"), priority(1)), makePod("y", "3", on("b"), priority(9))},
			pod:   makePod("p", "2", priority(5)), want: "a: x",
		},
		"no more than needed, the least important": {
			there: []*v1.Pod{makePod("x", "1", on("a"), priority(3)), makePod("y", "1", on("a"), priority(1)), makePod("z", "1", on("a"), priority(2)), makePod("f", "4", on("b"), priority(9))},
			pod:   makePod("p", "2", priority(5)), want: "a: y",
		},
		"the younger of equals": {
			there: []*v1.Pod{makePod("x", "2", on("a"), priority(1), startedAt(9)), makePod("y", "2", on("a"), priority(1), startedAt(5)), makePod("f", "4", on("b"), priority(9))},
			pod:   makePod("p", "2", priority(5)), want: "a: x",
		},
		"the node with the lower victims": {
			there: []*v1.Pod{makePod("x", "4", on("a"), priority(3)), makePod("y", "4", on("b"), priority(2))},
			pod:   makePod("p", "2", priority(5)), want: "b: y",
		},
		"the node with fewer victims": {
			there: []*v1.Pod{makePod("x", "2", on("a"), priority(2)), makePod("y", "2", on("a"), priority(2)), makePod("z", "4", on("b"), priority(2))},
			pod:   makePod("p", "4", priority(5)), want: "b: z",
		},
		"a budget is kept if that can be": {
			there:   []*v1.Pod{makePod("x", "2", on("a"), priority(1), labeled("app", web)), makePod("y", "2", on("a"), priority(2)), makePod("f", "4", on("b"), priority(9))},
			budgets: []*policyv1.PodDisruptionBudget{budget(0, "app", web)},
			pod:     makePod("p", "2", priority(5)), want: "a: y",
		},
		"the node where no budget breaks": {
			there:   []*v1.Pod{makePod("x", "4", on("a"), priority(1), labeled("app", web)), makePod("y", "4", on("b"), priority(2))},
			budgets: []*policyv1.PodDisruptionBudget{budget(0, "app", web)},
			pod:     makePod("p", "2", priority(5)), want: "b: y",
		},
		"a budget that must be broken": {
			there:   []*v1.Pod{makePod("x", "4", on("a"), priority(1), labeled("app", web)), makePod("f", "4", on("b"), priority(9))},
			budgets: []*policyv1.PodDisruptionBudget{budget(0, "app", web)},
			pod:     makePod("p", "2", priority(5)), want: "a: x",
		},
		"for a port": {
			there: []*v1.Pod{makePod("x", "1", on("a"), withPort(80), priority(1)), makePod("f", "4", on("b"), priority(9))},
			pod:   makePod("p", "1", withPort(80), priority(5)), want: "a: x",
		},
		"for distance": {
			there: []*v1.Pod{makePod("x", "1", on("a"), labeled("app", web), priority(1)), makePod("y", "1", on("b"), labeled("app", web), priority(9))},
			pod:   makePod("p", "1", far("kubernetes.io/hostname", selecting("app", web)), priority(5)), want: "a: x",
		},
		"not of equals": {
			there: []*v1.Pod{makePod("x", "4", on("a"), priority(5)), makePod("y", "4", on("b"), priority(5))},
			pod:   makePod("p", "2", priority(5)), want: "0/2 nodes are available: 2 No preemption victims found for incoming pod.",
		},
		"not enough": {
			there: []*v1.Pod{makePod("x", "1", on("a"), priority(1)), makePod("y", "3", on("a"), priority(9)), makePod("f", "4", on("b"), priority(9))},
			pod:   makePod("p", "2", priority(5)), want: "0/2 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod.",
		},
		"never": {
			there: []*v1.Pod{makePod("x", "4", on("a"), priority(1)), makePod("y", "4", on("b"), priority(1))},
			pod:   makePod("p", "2", priority(5), func(p *v1.Pod) { p.Spec.PreemptionPolicy = &never }), want: "not eligible due to preemptionPolicy=Never.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := NewCluster()
			cluster.SetNode(makeNode("a", "4"))
			cluster.SetNode(makeNode("b", "4"))
			for _, p := range c.there {
				cluster.SetPod(p)
			}
			_, why := cluster.Place(Wish{Pod: c.pod})
			if why == nil {
				t.Fatal("it fits")
			}
			found, _ := why.Preempt(c.budgets, 0)
			got := why.Preemption
			if found != nil {
				got = found.Node + ": " + names(found.Victims)
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func names(pods []*v1.Pod) string {
	var out []string
	for _, p := range pods {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

// While the pods that were ended for it are on their way out, a pod ends no
// others, keeps its room from lesser pods, and takes it when they are gone.
func TestW8Nomination(t *testing.T) {
	cluster := NewCluster()
	cluster.SetNode(makeNode("a", "4"))
	victim := makePod("x", "4", on("a"), priority(1))
	cluster.SetPod(victim)
	pod, lesser := makePod("p", "3", priority(5)), makePod("q", "3", priority(4))
	_, why := cluster.Place(Wish{Pod: pod})
	found, nomination := why.Preempt(nil, 0)
	if found == nil || nomination != Set {
		t.Fatalf("no preemption: %v", why)
	}
	cluster.Nominate(pod, found.Node)
	going := *victim
	going.DeletionTimestamp = &metav1.Time{}
	going.Status.Conditions = []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonPreemptionByScheduler}}
	cluster.SetPod(&going)
	_, why = cluster.Place(Wish{Pod: pod})
	if found, nomination = why.Preempt(nil, 0); found != nil || nomination != Keep {
		t.Errorf("another preemption: %v", found)
	}
	if want := "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node."; why.Error() != want {
		t.Errorf("got  %s\nwant %s", why, want)
	}
	cluster.RemovePod(victim.UID)
	if got, _ := cluster.Place(Wish{Pod: lesser}); got != "" {
		t.Errorf("a lesser pod took the room on %s", got)
	}
	if got, why := cluster.Place(Wish{Pod: makePod("r", "3", priority(6))}); got != "a" {
		t.Errorf("a greater pod did not: %v", why)
	}
	if got, why := cluster.Place(Wish{Pod: pod}); got != "a" {
		t.Errorf("the pod itself did not: %v", why)
	}
}

// Whatever the pods: victims are of lower priority, all are needed, and without
// them the pod fits.
func TestPreemptionIsNeededAndEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cluster := NewCluster()
		cluster.SetNode(makeNode("a", "4", func(n *v1.Node) { n.Status.Allocatable[v1.ResourcePods] = *presumed.Memory() }))
		for i := range rapid.IntRange(1, 8).Draw(t, "pods") {
			p := makePod(strings.Repeat("x", i+1), "500m", on("a"), priority(rapid.Int32Range(0, 9).Draw(t, "priority")))
			if rapid.Bool().Draw(t, "port") {
				withPort(80)(p)
			}
			cluster.SetPod(p)
		}
		pod := makePod("p", rapid.SampledFrom([]string{"1", "2", "4"}).Draw(t, "cpu"), priority(5), withPort(80))
		_, why := cluster.Place(Wish{Pod: pod})
		if why == nil {
			return
		}
		found, _ := why.Preempt(nil, 0)
		if found == nil {
			return
		}
		for _, v := range found.Victims {
			if *v.Spec.Priority >= 5 {
				t.Fatalf("%s of priority %d is a victim", v.Name, *v.Spec.Priority)
			}
			cluster.RemovePod(v.UID)
		}
		if _, why := cluster.Place(Wish{Pod: pod}); why != nil {
			t.Fatalf("not enough: %v", why)
		}
		for _, v := range found.Victims {
			cluster.SetPod(v)
			if _, why := cluster.Place(Wish{Pod: pod}); why == nil {
				t.Fatalf("%s need not have gone", v.Name)
			}
			cluster.RemovePod(v.UID)
		}
	})
}
