package scheduler_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/apiserver/apitest"
	"github.com/proa-project/proa/internal/scheduler"
)

const ns = "default"

// cluster is a real API server and the scheduler; nodes are objects alone.
type cluster struct {
	*apitest.Server
	t         *testing.T
	scheduler *scheduler.Scheduler
}

func start(t *testing.T) cluster {
	t.Helper()
	t.Parallel()
	s := apitest.Start(t)
	c := cluster{Server: s, t: t}
	_, err := s.Client.CoreV1().ServiceAccounts(ns).Create(t.Context(), &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: s.Client.CoreV1().Events("")})
	factory, startInformers := s.Informers(t)
	sched, err := scheduler.New(scheduler.Config{
		Client: s.Client, Informers: factory, Clock: clock.RealClock{},
		Recorder: events.NewRecorder(scheme.Scheme, v1.EventSource{Component: scheduler.Name}),
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	c.scheduler = sched
	startInformers()
	done := make(chan error, 1)
	go func() { done <- sched.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		events.Shutdown()
	})
	return c
}

func (c cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) addNode(name, cpu string, change ...func(*v1.Node)) {
	c.t.Helper()
	nodes := c.Client.CoreV1().Nodes()
	n, err := nodes.Create(c.t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}}, Status: v1.NodeStatus{
		Allocatable: v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse("1Gi"), "pods": resource.MustParse("10")}}}, metav1.CreateOptions{})
	c.must(err)
	n.Spec.Taints = nil // it is new, and so not ready; nobody else says that it is
	for _, f := range change {
		f(n)
	}
	_, err = nodes.Update(c.t.Context(), n, metav1.UpdateOptions{})
	c.must(err)
}

func (c cluster) addPod(name, cpu string, change ...func(*v1.Pod)) {
	c.t.Helper()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{"cpu": resource.MustParse(cpu)}}}}}}
	for _, f := range change {
		f(p)
	}
	_, err := c.Client.CoreV1().Pods(ns).Create(c.t.Context(), p, metav1.CreateOptions{})
	c.must(err)
}

func (c cluster) pod(name string) *v1.Pod {
	p, err := c.Client.CoreV1().Pods(ns).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return &v1.Pod{}
	}
	return p
}

func (c cluster) condition(name string) v1.PodCondition {
	for _, condition := range c.pod(name).Status.Conditions {
		if condition.Type == v1.PodScheduled {
			return condition
		}
	}
	return v1.PodCondition{}
}

func (c cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s", what)
		}
	}
}

func (c cluster) eventuallyOn(name, node string) {
	c.t.Helper()
	c.eventually(name+" is on "+node, func() bool { return c.pod(name).Spec.NodeName == node })
}

func TestW8PendingPodsAreExplainedAndRetried(t *testing.T) {
	c := start(t)
	c.addPod("p", "2")
	c.eventually("there are no nodes", func() bool { return c.condition("p").Message == "no nodes available to schedule pods" })
	c.addNode("small", "1")
	c.eventually("it says what is short", func() bool {
		return strings.HasPrefix(c.condition("p").Message, "0/1 nodes are available: 1 Insufficient cpu.") && c.condition("p").Reason == v1.PodReasonUnschedulable
	})
	c.addNode("tainted", "4", func(n *v1.Node) { n.Spec.Taints = []v1.Taint{{Key: "own", Effect: v1.TaintEffectNoSchedule}} })
	c.eventually("every node says why", func() bool {
		return fmt.Sprint(c.scheduler.Refusals(t.Context(), c.pod("p"))) == "[{small [Insufficient cpu]} {tainted [node(s) had untolerated taint(s)]}]"
	})
	c.addNode("large", "4")
	c.eventuallyOn("p", "large")
	if got := c.scheduler.Refusals(t.Context(), c.pod("p")); len(got) != 0 {
		t.Errorf("it has a node, and %v", got)
	}

	c.addPod("gated", "1", func(p *v1.Pod) { p.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "example.com/gate"}} })
	if got := c.condition("gated").Reason; got != v1.PodReasonSchedulingGated {
		t.Errorf("reason %q", got)
	}
	p := c.pod("gated")
	p.Spec.SchedulingGates = nil
	_, err := c.Client.CoreV1().Pods(ns).Update(t.Context(), p, metav1.UpdateOptions{})
	c.must(err)
	c.eventually("the gate opens", func() bool { return c.pod("gated").Spec.NodeName != "" })

	c.addPod("foreign", "1m", func(p *v1.Pod) { p.Spec.SchedulerName = "other" })
	c.addPod("after", "1m")
	c.eventually("the next one is placed", func() bool { return c.pod("after").Spec.NodeName != "" })
	if got := c.pod("foreign"); got.Spec.NodeName != "" || len(got.Status.Conditions) != 0 {
		t.Errorf("another scheduler's pod was touched: %+v", got.Status)
	}
}

func TestW8PreemptionOnAServer(t *testing.T) {
	c := start(t)
	_, err := c.Client.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 7}, metav1.CreateOptions{})
	c.must(err)
	c.addNode("n", "2")
	keep := func(p *v1.Pod) { p.Finalizers = []string{"example.com/watched"} }
	c.addPod("low", "2", keep)
	c.eventuallyOn("low", "n")
	c.eventually("the class is known", func() bool {
		_, err := c.Client.CoreV1().Pods(ns).Create(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: v1.PodSpec{PriorityClassName: "high", Containers: []v1.Container{{Name: "c", Image: "i"}}}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil
	})
	c.addPod("high", "1", func(p *v1.Pod) { p.Spec.PriorityClassName = "high" })
	c.eventually("the node is nominated", func() bool { return c.pod("high").Status.NominatedNodeName == "n" })
	c.eventually("the pod in the way is ended", func() bool { return c.pod("low").DeletionTimestamp != nil })
	disrupted := false
	for _, condition := range c.pod("low").Status.Conditions {
		disrupted = disrupted || condition.Type == v1.DisruptionTarget && condition.Reason == v1.PodReasonPreemptionByScheduler
	}
	if !disrupted {
		t.Errorf("no DisruptionTarget: %+v", c.pod("low").Status.Conditions)
	}
	if got := c.pod("high").Spec.NodeName; got != "" {
		t.Errorf("it is on %s before there is room", got)
	}
	low := c.pod("low")
	low.Finalizers = nil
	_, err = c.Client.CoreV1().Pods(ns).Update(t.Context(), low, metav1.UpdateOptions{})
	c.must(err)
	zero := int64(0)
	c.must(c.Client.CoreV1().Pods(ns).Delete(t.Context(), "low", metav1.DeleteOptions{GracePeriodSeconds: &zero}))
	c.eventuallyOn("high", "n")
	if got := c.pod("high").Status.NominatedNodeName; got != "" {
		t.Errorf("still nominated: %s", got)
	}
}

// A burst ends up bound, no node overfull.
func TestW8ABurstIsSpread(t *testing.T) {
	c := start(t)
	for _, n := range []string{"a", "b", "c"} {
		c.addNode(n, "1")
	}
	for i := range 30 {
		c.addPod(fmt.Sprint("p", i), "100m")
	}
	on := map[string]int{}
	c.eventually("all are bound", func() bool {
		clear(on)
		pods, err := c.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		c.must(err)
		for _, p := range pods.Items {
			on[p.Spec.NodeName]++
		}
		return on[""] == 0
	})
	for _, n := range []string{"a", "b", "c"} {
		if on[n] != 10 {
			t.Errorf("%d pods on %s, want 10", on[n], n)
		}
	}
}
