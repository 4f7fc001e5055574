package node

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/runtime/crifake"
)

// simSeeds is how many days a node lives through, unless PROA_SIM_SEEDS=n says
// otherwise. PROA_SIM_SEED=n is that one day. CI asks for ciSeeds, in which agents
// must have died at every point.
const (
	simSeeds = 500
	ciSeeds  = 10_000
)

// TestSimulation lets a node live through random days, on a runtime and an API that
// behave and a clock that jumps to whatever happens next: pods come, change and go,
// their processes end, answers are lost, and the agent is killed in the midst of
// what it does, at every point at which it touches the world. The rules that no node
// may break are checked all the time; once the world is quiet again, everything must
// be as it should.
//
// A failure names its seed. The same seed makes the same day; which of two things of
// one moment comes first is the scheduler's, so a rare order may need several runs.
func TestSimulation(t *testing.T) {
	first, n := 1, simSeeds
	if s := os.Getenv("PROA_SIM_SEED"); s != "" {
		first, n = number(t, s), 1
	} else if s := os.Getenv("PROA_SIM_SEEDS"); s != "" {
		n = number(t, s)
	} else if testing.Short() {
		n = simSeeds / 20
	}
	quickly(t)
	passed := &passedPoints{killed: map[string]int{}}
	t.Run("days", func(t *testing.T) {
		workers := min(runtime.GOMAXPROCS(0), n)
		for w := range workers {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				for seed := first + w; seed < first+n && !t.Failed(); seed += workers {
					synctest.Test(t, func(t *testing.T) { newSimulation(t, uint64(seed), passed).run() })
				}
			})
		}
	})
	t.Logf("agents were killed at: %v", passed.killed)
	if n >= ciSeeds {
		for _, p := range crashPoints {
			if passed.killed[p] == 0 {
				t.Errorf("no agent was ever killed at: %s", p)
			}
		}
	}
}

// quickly lets the days pass without what would take half of their time: a small
// heap, and the client library's log of what it could not write.
func quickly(t *testing.T) {
	before := debug.SetGCPercent(800)
	klog.SetLogger(logr.Discard())
	t.Cleanup(func() {
		debug.SetGCPercent(before)
		klog.ClearLogger()
	})
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// passedPoints counts where agents were killed, over all days.
type passedPoints struct {
	mu     sync.Mutex
	killed map[string]int
}

func (p *passedPoints) count(point string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed[point]++
}

// simulation is one day of a node.
type simulation struct {
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	api     *simAPI
	runtime *crifake.Runtime
	volumes *fakeVolumes
	cgroups *fakeCgroups
	probes  *fakeProbes
	dir     string
	passed  *passedPoints
	calm    bool // programs behave from now on
	made    int
	story   []string // what was done to the node

	agent *Agent
	life  *life
	ended chan struct{}

	truth *truth
}

func newSimulation(t *testing.T, seed uint64, passed *passedPoints) *simulation {
	s := &simulation{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), api: newSimAPI(), runtime: crifake.New(crifake.Config{}), passed: passed,
		volumes: &fakeVolumes{present: map[types.UID]bool{}, fail: map[types.UID]error{}}, cgroups: &fakeCgroups{present: map[types.UID]bool{}},
		probes: &fakeProbes{pods: map[types.UID][]loop.ProbedContainer{}},
	}
	dir, err := os.MkdirTemp(memoryDir, "proa-sim-")
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	s.truth = newTruth(s.runtime.Ends)
	s.runtime.ScriptFunc(s.program)
	return s
}

// memoryDir is a file system without a disk behind it.
const memoryDir = "/dev/shm"

func (s *simulation) run() {
	defer os.RemoveAll(s.dir)
	defer func() { s.end() }()
	s.start()
	for range 2 + s.rnd.IntN(4) {
		s.step()
		s.pass(time.Duration(s.rnd.IntN(5000)) * time.Millisecond)
	}
	s.quiet()
}

func (s *simulation) tell(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf("%6.1fs ", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds())+fmt.Sprintf(format, args...))
}

// start an agent.
func (s *simulation) start() {
	l := newLife()
	l.story = func() string {
		return fmt.Sprintf("\nseed %d\n%s\n%s\n", s.seed, strings.Join(s.story, "\n"), strings.Join(s.api.patches[max(0, len(s.api.patches)-4):], "\n"))
	}
	client := s.api.client(l.point)
	factory := informers.NewSharedInformerFactory(client, 0)
	inProcess := cri.InProcess(s.runtime)
	events, _ := inProcess.(cri.Events)
	agent, err := New(Config{
		NodeName: "node", Client: client, Informers: factory,
		Runtime: mortalRuntime{Runtime: watched{inProcess, s}, Events: events, life: l}, Images: mortalImages{s.runtime, l},
		Volumes: mortalVolumes{s.volumes, l}, Cgroups: mortalCgroups{s.cgroups, l}, Probes: s.probes,
		Node: func() *v1.Node { return testNode }, HostIPs: func() []string { return []string{"192.168.1.2"} },
		DataDir: s.dir, ClusterDNS: []string{"10.96.0.10"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.agent, s.life, s.ended = agent, l, make(chan struct{})
	ended := s.ended
	go func() {
		defer close(ended)
		if err := agent.Run(l.ctx); err != nil && l.ctx.Err() == nil {
			s.fail("the agent ended: %v", err)
		}
		factory.Shutdown()
	}()
	factory.Core().V1().Pods().Informer()
	factory.Core().V1().Services().Informer()
	factory.Start(l.ctx.Done())
	synctest.Wait()
}

func (s *simulation) end() {
	s.life.kill()
	<-s.ended
}

// restart kills the agent and starts another.
func (s *simulation) restart() {
	s.end()
	s.start()
}

// pass lets time go by. An agent that dies meanwhile is replaced.
func (s *simulation) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.life.died:
		s.tell("the agent is killed at: %s", s.life.armed)
		s.passed.count(s.life.armed)
		s.restart()
		<-timer.C
	}
	synctest.Wait()
	s.check()
}

func (s *simulation) step() {
	switch n := s.rnd.IntN(20); {
	case n < 5:
		s.createOne()
	case n < 7:
		s.deleteOne()
	case n == 7:
		s.changeOne()
	case n < 10:
		s.hurtContainer()
	case n == 10:
		s.hurtSandbox()
	case n < 13:
		s.breakRuntime()
	case n == 13:
		s.tell("the agent is killed at rest")
		s.restart()
	case n < 18:
		points := crashPoints
		if s.rnd.IntN(3) == 0 {
			points = rarePoints
		}
		s.crashAt(points[s.rnd.IntN(len(points))])
	default:
		s.probeOne()
	}
}

// crashAt arms a point, and does what leads there.
func (s *simulation) crashAt(point string) {
	deed, _, _ := strings.Cut(strings.TrimPrefix(point, "API "), " ")
	switch {
	case deed == "UpdateContainerResources":
		s.life.arm(point, 0)
		s.resizeOne()
	case slices.Contains([]string{"StopContainer", "StopPodSandbox", "RemovePodSandbox", "Volumes.TearDown", "Cgroups.Remove", "delete"}, deed) && len(s.api.names()) > 0:
		s.life.arm(point, 0)
		s.deleteOne()
	case slices.Contains(rarePoints, point):
		s.life.arm(point, 0)
		s.createOne()
		s.hurtContainer()
	default:
		s.life.arm(point, s.rnd.IntN(3))
		s.createOne()
	}
}

func (s *simulation) createOne() {
	if len(s.api.pods) >= 4 {
		s.deleteOne()
		return
	}
	s.made++
	p := s.drawPod(fmt.Sprintf("p%d", s.made))
	s.tell("create %s", describeSpec(p))
	s.api.create(p)
}

func (s *simulation) deleteOne() {
	p := s.any()
	if p == nil {
		return
	}
	grace := int64(s.rnd.IntN(4))
	if s.rnd.IntN(5) == 0 {
		s.tell("%s is gone", p.Name)
		s.truth.ends(p.UID)
		s.api.force(p.Name)
		return
	}
	s.tell("delete %s within %d s", p.Name, grace)
	s.truth.ends(p.UID)
	s.api.delete(p.Name, grace)
}

// changeOne edits a pod as its API lets one.
func (s *simulation) changeOne() {
	p := s.any()
	if p == nil || p.DeletionTimestamp != nil {
		return
	}
	next := p.DeepCopy()
	c := &next.Spec.Containers[s.rnd.IntN(len(next.Spec.Containers))]
	switch s.rnd.IntN(3) {
	case 0:
		c.Image += "x"
		s.truth.changed(p.UID, c.Name)
		s.tell("%s/%s gets another image", p.Name, c.Name)
	case 1:
		next.Spec.ActiveDeadlineSeconds = new(int64(1 + s.rnd.IntN(20)))
		s.tell("%s gets a deadline of %d s", p.Name, *next.Spec.ActiveDeadlineSeconds)
	default:
		if len(c.Resources.Requests) > 0 {
			c.Resources = resourcesOf(1 + s.rnd.IntN(20))
			if resizeRestarts(c) {
				s.truth.changed(p.UID, c.Name)
			}
			s.tell("%s/%s is resized to %v", p.Name, c.Name, c.Resources.Requests.Cpu())
		}
	}
	s.api.update(next)
}

// resizeOne changes the resources of a container that runs, in place; without one,
// a pod is made that may be resized later.
func (s *simulation) resizeOne() {
	for _, name := range s.api.names() {
		next := s.api.get(name).DeepCopy()
		for i := range next.Spec.Containers {
			c := &next.Spec.Containers[i]
			if next.DeletionTimestamp == nil && len(c.Resources.Requests) > 0 && !resizeRestarts(c) {
				c.Resources = resourcesOf(1 + s.rnd.IntN(20))
				s.tell("%s/%s is resized to %v", name, c.Name, c.Resources.Requests.Cpu())
				s.api.update(next)
				return
			}
		}
	}
	s.createOne()
}

func (s *simulation) hurtContainer() {
	list := s.runtime.Running()
	if len(list) == 0 {
		return
	}
	id := list[s.rnd.IntN(len(list))]
	switch s.rnd.IntN(8) {
	case 0:
		s.tell("%s is forgotten by the runtime", s.truth.name(id))
		s.truth.forget(id)
		s.runtime.Forget(id)
	case 1:
		s.tell("%s runs out of memory", s.truth.name(id))
		s.runtime.OOMKill(id)
	default:
		code := int32(s.rnd.IntN(3))
		s.tell("%s exits with %d", s.truth.name(id), code)
		s.runtime.Exit(id, code)
	}
}

func (s *simulation) hurtSandbox() {
	resp, err := s.runtime.ListPodSandbox(context.Background(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(resp.Items) == 0 {
		return
	}
	box := resp.Items[s.rnd.IntN(len(resp.Items))]
	s.tell("the sandbox of %s dies", box.Metadata.Name)
	s.runtime.KillSandbox(box.Id)
}

// faulty are the methods of the runtime that may fail.
var faulty = []string{
	"RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer",
	"PullImage", "ImageStatus", "ListContainers", "ListPodSandbox", "ContainerStatus", "PodSandboxStatus", "UpdateContainerResources",
}

func (s *simulation) breakRuntime() {
	method := faulty[s.rnd.IntN(len(faulty))]
	n := 1 + s.rnd.IntN(2)
	switch s.rnd.IntN(4) {
	case 0:
		s.tell("%d answers of %s get lost", n, method)
		s.runtime.FailAfter(method, fmt.Errorf("the answer got lost"), n)
	case 1:
		s.tell("%s takes its time", method)
		s.runtime.Delay(method, time.Duration(s.rnd.IntN(3000))*time.Millisecond)
	case 2:
		drop := s.rnd.IntN(2) == 0
		s.tell("events get lost: %v", drop)
		s.runtime.DropEvents(drop)
		s.runtime.CutEvents()
	default:
		s.tell("%s fails %d times", method, n)
		s.runtime.Fail(method, fmt.Errorf("made to fail"), n)
	}
}

func (s *simulation) probeOne() {
	p := s.any()
	if p == nil {
		return
	}
	kind := []podlife.ProbeKind{podlife.Startup, podlife.Liveness, podlife.Readiness}[s.rnd.IntN(3)]
	verdict := []podlife.Verdict{podlife.Success, podlife.Failure}[s.rnd.IntN(2)]
	if s.probes.sendAny(p.UID, kind, verdict) {
		s.tell("%s: %s probe: %s", p.Name, kind, verdict)
	}
}

func (s *simulation) any() *v1.Pod {
	names := s.api.names()
	if len(names) == 0 {
		return nil
	}
	return s.api.get(names[s.rnd.IntN(len(names))])
}

// drawPod makes up a pod.
func (s *simulation) drawPod(name string) *v1.Pod {
	p := pod(name)
	p.Generation = 1
	p.Spec.TerminationGracePeriodSeconds = new(int64(s.rnd.IntN(6)))
	p.Spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}[s.rnd.IntN(3)]
	always := v1.ContainerRestartPolicyAlways
	for i := range s.rnd.IntN(3) {
		c := v1.Container{Name: fmt.Sprintf("init%d", i)}
		if s.rnd.IntN(2) == 0 {
			c = s.drawContainer(fmt.Sprintf("side%d", i))
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range 1 + s.rnd.IntN(2) {
		c := s.drawContainer(fmt.Sprintf("main%d", i))
		if s.rnd.IntN(6) == 0 {
			never := v1.ContainerRestartPolicyNever
			c.RestartPolicy = &never
			action := []v1.ContainerRestartRuleAction{v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers}[s.rnd.IntN(2)]
			c.RestartPolicyRules = []v1.ContainerRestartRule{{Action: action, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{
				Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{2}}}}
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			list[i].Image, list[i].ImagePullPolicy = "busybox", []v1.PullPolicy{v1.PullAlways, v1.PullIfNotPresent}[s.rnd.IntN(2)]
		}
	}
	if s.rnd.IntN(8) == 0 {
		p.Spec.ActiveDeadlineSeconds = new(int64(1 + s.rnd.IntN(15)))
	}
	if s.rnd.IntN(10) == 0 {
		p.Finalizers = []string{"example.com/hold"}
	}
	return p
}

func (s *simulation) drawContainer(name string) v1.Container {
	c := v1.Container{Name: name}
	hook := &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"hook"}}}
	switch s.rnd.IntN(8) {
	case 0:
		c.Lifecycle = &v1.Lifecycle{PostStart: hook}
	case 1:
		c.Lifecycle = &v1.Lifecycle{PreStop: hook}
	case 2:
		c.StartupProbe, c.LivenessProbe = &v1.Probe{}, &v1.Probe{}
	case 3:
		c.ReadinessProbe = &v1.Probe{}
	case 4:
		c.Resources = resourcesOf(1 + s.rnd.IntN(4))
		if s.rnd.IntN(2) == 0 {
			c.ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceCPU, RestartPolicy: v1.RestartContainer}}
		}
	}
	return c
}

// program is what a run of a container does: decided by the seed and which run it is.
func (s *simulation) program(c *runtimeapi.ContainerConfig) (crifake.Program, bool) {
	h := fnv.New64a()
	fmt.Fprint(h, s.seed, c.Labels["io.kubernetes.pod.uid"], c.Metadata.Name, c.Metadata.Attempt)
	rnd := rand.New(rand.NewPCG(h.Sum64(), 1))
	p := crifake.Program{TermAfter: time.Duration(rnd.IntN(3)) * time.Second, IgnoreTerm: rnd.IntN(5) == 0}
	slow := time.Duration(rnd.IntN(8)) * time.Second
	code := int32(rnd.IntN(4) / 3)
	p.Exec = func(ctx context.Context, _ []string) crifake.ExecResult {
		select {
		case <-ctx.Done():
			return crifake.ExecResult{Err: ctx.Err()}
		case <-time.After(slow):
			return crifake.ExecResult{Code: code}
		}
	}
	switch init := strings.HasPrefix(c.Metadata.Name, "init"); {
	case init && s.calm:
		p.ExitAfter = time.Second
	case init:
		p.ExitAfter, p.ExitCode = time.Duration(1+rnd.IntN(4000))*time.Millisecond, int32(rnd.IntN(3)/2)
	case s.calm:
	case rnd.IntN(3) == 0:
		p.ExitAfter, p.ExitCode = time.Duration(1+rnd.IntN(9000))*time.Millisecond, int32(rnd.IntN(3))
	case rnd.IntN(12) == 0:
		p.StartError = fmt.Errorf("no such command")
	}
	return p, true
}

// check what must be true at every moment.
func (s *simulation) check() {
	s.t.Helper()
	wrong := append(s.api.faults(), s.truth.wrong()...)
	live := map[string]int{}
	for _, id := range s.runtime.Running() {
		live[s.truth.name(id)]++
	}
	for name, n := range live {
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("%d instances of %s live", n, name))
		}
	}
	if len(wrong) > 0 {
		s.fail("%s", strings.Join(wrong, "\n"))
	}
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	slices.SortStableFunc(s.truth.log, func(a, b string) int { return cmp.Compare(a[:8], b[:8]) })
	s.t.Fatalf("seed %d: %s\nwhat was done to the node:\n%s\nwhat its runtime was told:\n%s\nwhat it says:\n%s", s.seed, fmt.Sprintf(format, args...),
		strings.Join(s.story, "\n"), strings.Join(s.truth.log, "\n"), s.explain())
}

func (s *simulation) explain() string {
	var b strings.Builder
	for _, name := range s.api.names() {
		fmt.Fprintf(&b, "API: %s generation %d of %d: %s\n", name, s.api.get(name).Status.ObservedGeneration, s.api.get(name).Generation, describe(s.api.get(name)))
	}
	for _, p := range s.agent.Pods() {
		fmt.Fprintf(&b, "%s: %s\n", p.Name, describe(p))
		for _, e := range s.agent.Why(p.Namespace, p.Name) {
			fmt.Fprintf(&b, "  %s, waits %v, doing %v\n", e.Phase, e.Waits, e.InFlight)
			for _, d := range e.Log[max(0, len(e.Log)-25):] {
				fmt.Fprintf(&b, "    %s %s %s: %s\n", d.At.Format("05.000"), d.Subject, d.What, d.Why)
			}
		}
	}
	return b.String()
}

// quiet ends all trouble: a healthy pod becomes ready, what was asked for comes true,
// and in the end nothing is left.
func (s *simulation) quiet() {
	s.calm = true
	s.life.arm("", 0)
	s.runtime.Heal()
	healthy := pod("healthy", v1.Container{Name: "app"})
	healthy.Generation = 1
	s.api.create(healthy)
	s.until(time.Minute, "a healthy pod is ready", func() bool { return isReady(s.api.get("healthy")) })
	s.until(10*time.Minute, "every pod has settled", s.settled)
	s.checkExits()
	for _, name := range s.api.names() {
		s.truth.ends(s.api.get(name).UID)
		s.api.release(name)
		s.api.delete(name, 1)
	}
	s.until(5*time.Minute, "nothing is left", func() bool { return len(s.api.names()) == 0 && s.nothingLeft() })
}

func (s *simulation) until(most time.Duration, what string, ok func() bool) {
	s.t.Helper()
	step := time.Second
	for end := time.Now().Add(most); time.Now().Before(end); step = min(2*step, 16*time.Second) {
		if ok() {
			return
		}
		s.probes.passAll()
		s.pass(step)
	}
	s.fail("never: %s", what)
}

// settled: pods that are to go have gone, but for what holds them, and the others
// have ended, or each of their containers runs, ended for good or waits its turn.
func (s *simulation) settled() bool {
	for _, name := range s.api.names() {
		p := s.api.get(name)
		ended := p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
		switch {
		case p.DeletionTimestamp != nil && len(p.Finalizers) == 0:
			return false
		case !ended && (p.DeletionTimestamp != nil || p.Status.ObservedGeneration != p.Generation || len(p.Status.ContainerStatuses) != len(p.Spec.Containers)):
			return false
		}
		for _, c := range p.Status.ContainerStatuses {
			if !ended && c.State.Running == nil && c.State.Terminated == nil {
				return false
			}
		}
	}
	return true
}

// checkExits: no exit code was lost, and none made up.
func (s *simulation) checkExits() {
	for _, name := range s.api.names() {
		p := s.api.get(name)
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if wrong := s.truth.checkStatus(c); wrong != "" {
				s.fail("%s: %s", name, wrong)
			}
		}
	}
}

func (s *simulation) nothingLeft() bool {
	resp, err := s.runtime.ListPodSandbox(context.Background(), &runtimeapi.ListPodSandboxRequest{})
	containers, err2 := s.runtime.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{})
	return err == nil && err2 == nil && len(resp.Items) == 0 && len(containers.Containers) == 0 && len(s.volumes.list()) == 0 && len(s.cgroups.list()) == 0
}
