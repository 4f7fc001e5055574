package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/proa-project/proa/internal/runtime/crifake"
)

// TestSimulation lets a node live through random days: pods come and go, their
// processes end, the runtime fails, and the agent is killed, at rest or in the
// middle of a call to the runtime (before or after its effect). Once the world is
// quiet again everything must be as it should.
//
// A failure names its seed: PROA_SIM_SEED=n runs that one; PROA_SIM_SEEDS=n runs
// the first n.
func TestSimulation(t *testing.T) {
	first, n := uint64(1), uint64(12)
	if s := os.Getenv("PROA_SIM_SEED"); s != "" {
		first, n = number(t, s), 1
	} else if s := os.Getenv("PROA_SIM_SEEDS"); s != "" {
		n = number(t, s)
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { newSimulation(t, seed).run() })
	}
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// crashPoints are the calls to the runtime in whose midst the agent may be killed.
var crashPoints = []string{"RunPodSandbox", "CreateContainer", "StartContainer", "StopContainer", "StopPodSandbox", "RemovePodSandbox", "PullImage", "ListContainers"}

type simulation struct {
	*fixture
	rnd   *rand.Rand
	clock *clocktesting.FakeClock
	made  int

	mu     sync.Mutex
	crash  string // the next call of this method kills the agent
	killed chan struct{}
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	f := newFixture(t)
	clk := clocktesting.NewFakeClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	f.clock, f.runtime = clk, crifake.New(crifake.Config{Clock: clk})
	s := &simulation{fixture: f, clock: clk, rnd: rand.New(rand.NewPCG(seed, 0))}
	f.runtime.Hook(s.hook)
	return s
}

// hook fails the call that the agent is to die in.
func (s *simulation) hook(_ context.Context, method string, req any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if method == s.crash {
		s.crash = ""
		close(s.killed)
		return errors.New("the agent is killed in the midst of it")
	}
	return nil
}

func (s *simulation) run() {
	s.start()
	for range 25 {
		s.step()
		s.checkSingle()
		s.pass(time.Duration(s.rnd.IntN(4)) * time.Second)
	}
	s.quiet()
}

func (s *simulation) step() {
	switch s.rnd.IntN(9) {
	case 0, 1, 2:
		s.createOne()
	case 3:
		if p := s.any(); p != nil && p.DeletionTimestamp == nil {
			s.delete(p.Name, int64(s.rnd.IntN(4)))
		}
	case 4:
		if p := s.any(); p != nil { // deleted by force
			_ = s.client.CoreV1().Pods("default").Delete(context.Background(), p.Name, metav1.DeleteOptions{})
		}
	case 5:
		if list := s.running(); len(list) > 0 {
			s.runtime.Exit(list[s.rnd.IntN(len(list))].Id, int32(s.rnd.IntN(2)))
		}
	case 6:
		s.runtime.Fail(crashPoints[s.rnd.IntN(len(crashPoints))], errors.New("injected"), 1+s.rnd.IntN(2))
	case 7:
		s.kill()
		s.start()
	case 8:
		s.crashAt(crashPoints[s.rnd.IntN(len(crashPoints))])
	}
}

// crashAt kills the agent in its next call of the method, if there is one soon.
func (s *simulation) crashAt(method string) {
	s.mu.Lock()
	s.crash, s.killed = method, make(chan struct{})
	killed := s.killed
	s.mu.Unlock()
	s.createOne()
	s.pass(2 * time.Second)
	s.mu.Lock()
	s.crash = ""
	s.mu.Unlock()
	select {
	case <-killed:
		s.kill()
		s.start()
	default:
	}
}

func (s *simulation) createOne() {
	s.made++
	p := pod(fmt.Sprintf("p%d", s.made), v1.Container{Name: "app"})
	if s.rnd.IntN(2) == 0 {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "other", Image: "busybox", ImagePullPolicy: v1.PullAlways})
	}
	if s.rnd.IntN(3) == 0 {
		always := v1.ContainerRestartPolicyAlways
		p.Spec.InitContainers = []v1.Container{{Name: "side", Image: "busybox", RestartPolicy: &always}}
	}
	p.Spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}[s.rnd.IntN(3)]
	s.create(p)
}

func (s *simulation) any() *v1.Pod {
	list, err := s.client.CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return nil
	}
	return &list.Items[s.rnd.IntN(len(list.Items))]
}

func (s *simulation) running() []*runtimeapi.Container {
	var out []*runtimeapi.Container
	for _, c := range s.containers() {
		if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			out = append(out, c)
		}
	}
	return out
}

// checkSingle: of every container of a pod at most one instance lives.
func (s *simulation) checkSingle() {
	seen := map[string]bool{}
	for _, c := range s.running() {
		key := c.Labels["io.kubernetes.pod.uid"] + "/" + c.Labels["io.kubernetes.container.name"]
		if seen[key] {
			for _, e := range s.agent.Why("default", c.Labels["io.kubernetes.pod.name"]) {
				s.t.Logf("%+v", e)
			}
			for _, call := range s.runtime.Calls("CreateContainer", "StartContainer", "StopContainer") {
				s.t.Logf("%s %v: %v", call.Method, call.Req, call.Err)
			}
			s.t.Fatalf("two live instances of %s", key)
		}
		seen[key] = true
	}
}

// pass lets time go by, a second at a time, with a breath for the goroutines.
func (s *simulation) pass(d time.Duration) {
	for range d / time.Second {
		s.clock.Step(time.Second)
		time.Sleep(2 * time.Millisecond) // not waited for: more of it only means more done a second
	}
}

// quiet ends all trouble and holds the node to what must then come true.
func (s *simulation) quiet() {
	for _, m := range crashPoints {
		s.runtime.Fail(m, nil, -1)
	}
	s.until("every pod is as it should be", s.allSettled)
	list, err := s.client.CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			s.delete(list.Items[i].Name, 1)
		}
	}
	s.until("nothing is left", func() bool { return s.any() == nil && s.nothingLeft() })
}

func (s *simulation) allSettled() bool {
	list, err := s.client.CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return false
	}
	known := map[string]bool{}
	for _, p := range list.Items {
		known[string(p.UID)] = true
		ended := p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
		if p.DeletionTimestamp != nil || !ended && !runs(&p) {
			return false
		}
	}
	for _, c := range s.containers() {
		if !known[c.Labels["io.kubernetes.pod.uid"]] {
			return false
		}
	}
	return true
}

// runs: each container runs, or has ended for good.
func runs(p *v1.Pod) bool {
	if len(p.Status.ContainerStatuses) != len(p.Spec.Containers) {
		return false
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running == nil && c.State.Terminated == nil {
			return false
		}
	}
	return true
}

func (s *simulation) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		s.checkSingle()
		s.pass(time.Second)
	}
	s.eventually(what, ok) // prints what is known
}
