package podlife

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/proa-project/proa/internal/kit/pods"
)

// TestProperties lets anything happen to random pods and holds the machine to
// what must be true whatever happens.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &harness{t: t, world: newWorld(drawPod(t)), done: map[string]bool{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step()
		}
		h.converge()
	})
}

// harness is a world whose every decision is checked.
type harness struct {
	*world
	t       *rapid.T
	done    map[string]bool // containers that have ended at least once
	end     *End
	stopBy  time.Time
	stopped bool
}

func drawPod(t *rapid.T) *v1.Pod {
	pod := &v1.Pod{}
	pod.Name, pod.Namespace, pod.UID = "p", "ns", "u"
	pod.Spec.RestartPolicy = rapid.SampledFrom([]v1.RestartPolicy{
		v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}).Draw(t, "policy")
	hook := &v1.LifecycleHandler{Exec: &v1.ExecAction{}}
	container := func(name string) v1.Container {
		c := v1.Container{Name: name, Image: "img"}
		switch rapid.IntRange(0, 4).Draw(t, "kind of "+name) {
		case 0:
			c.Lifecycle = &v1.Lifecycle{PostStart: hook}
		case 1:
			c.Lifecycle = &v1.Lifecycle{PreStop: hook}
		case 2:
			c.StartupProbe = &v1.Probe{}
		}
		return c
	}
	always := v1.ContainerRestartPolicyAlways
	for i := range rapid.IntRange(0, 3).Draw(t, "inits") {
		c := v1.Container{Name: fmt.Sprintf("init%d", i), Image: "img"}
		if rapid.Bool().Draw(t, "sidecar") {
			c = container(c.Name)
			c.RestartPolicy = &always
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "mains") {
		pod.Spec.Containers = append(pod.Spec.Containers, container(fmt.Sprintf("main%d", i)))
	}
	return pod
}

func (h *harness) step() {
	switch rapid.IntRange(0, 11).Draw(h.t, "op") {
	case 0, 1, 2, 3:
		h.finishSome()
	case 4:
		h.now = h.now.Add(time.Duration(rapid.IntRange(0, 30).Draw(h.t, "seconds")) * time.Second)
	case 5:
		if names := h.aliveNames(); len(names) > 0 {
			name := rapid.SampledFrom(names).Draw(h.t, "exits")
			h.exit(h.live(name).ID, int32(rapid.IntRange(0, 2).Draw(h.t, "code")))
		}
	case 6:
		if names := h.aliveNames(); len(names) > 0 {
			name := rapid.SampledFrom(names).Draw(h.t, "probed")
			h.probes = append(h.probes, ProbeResult{
				Container: name, ContainerID: h.live(name).ID, At: h.now, Threshold: 1, Run: 1,
				Kind:    rapid.SampledFrom([]ProbeKind{Startup, Liveness, Readiness}).Draw(h.t, "probe"),
				Verdict: rapid.SampledFrom([]Verdict{Success, Failure}).Draw(h.t, "verdict"), Attempt: Failure,
			})
		}
	case 7:
		h.crash(false)
	case 8:
		h.lose("sandbox")
	case 9:
		if key := rapid.SampledFrom([]string{"CreateSandbox", "MountVolumes", "PullImage main0", "StartContainer main0", "StopSandbox"}).Draw(h.t, "fault"); h.fails[key] == "" {
			h.fails[key] = "RunContainerError: broken"
		} else {
			delete(h.fails, key)
		}
	case 10:
		if rapid.IntRange(0, 3).Draw(h.t, "really") == 0 {
			h.want.Stop = rapid.SampledFrom([]StopKind{StopDeleted, StopEvicted, StopGone}).Draw(h.t, "stop")
			h.want.Grace = time.Duration(rapid.IntRange(0, 40).Draw(h.t, "grace")) * time.Second
		}
	case 11:
		if names := h.aliveNames(); len(names) > 0 {
			h.live(rapid.SampledFrom(names).Draw(h.t, "lost")).State = Lost
		}
	}
	h.check()
}

func (h *harness) aliveNames() []string {
	var out []string
	for _, inst := range h.seen.Instances {
		if inst.Alive() {
			out = append(out, inst.Name)
		}
	}
	return out
}

func (h *harness) finishSome() {
	for _, id := range h.doable() {
		if rapid.Bool().Draw(h.t, "finish "+id) {
			h.finish(id)
		}
	}
}

// check decides once and holds the output to the properties.
func (h *harness) check() {
	for _, inst := range h.seen.Instances {
		if inst.State == Exited {
			h.done[inst.Name] = true
		}
	}
	before := h.snapshot()
	out := h.decide()
	h.print(out)
	live := map[string]int{}
	for _, inst := range h.seen.Instances {
		if inst.Alive() {
			live[inst.Name]++
		}
	}
	for _, a := range out.Actions {
		switch a.Kind {
		case StartContainer:
			h.checkStart(a, before, live)
		case CreateSandbox:
			if out.Memory.Stop != nil {
				h.fatalf("sandbox created after Stop was accepted")
			}
		}
	}
	h.checkSticky(out.Memory)
	h.checkFixedPoint()
}

func (h *harness) checkStart(a Action, seen Observed, live map[string]int) {
	if h.memory.Stop != nil {
		h.fatalf("%s started after Stop was accepted", a.Container)
	}
	if live[a.Container] > 0 {
		h.fatalf("a second live instance of %s", a.Container)
	}
	starts := 0
	for _, f := range h.inFlight {
		if f.Kind == StartContainer && f.Container == a.Container {
			starts++
		}
	}
	if starts > 1 {
		h.fatalf("two starts of %s in flight", a.Container)
	}
	isMain := false
	for _, c := range h.pod.Spec.Containers {
		isMain = isMain || c.Name == a.Container
	}
	if isMain && h.pod.Spec.RestartPolicy == v1.RestartPolicyNever && h.done[a.Container] {
		h.fatalf("restartPolicy Never, yet %s runs again", a.Container)
	}
	mainHere := false
	for _, inst := range seen.Instances {
		for _, c := range h.pod.Spec.Containers {
			mainHere = mainHere || inst.Name == c.Name && inst.SandboxID == a.SandboxID
		}
	}
	if mainHere || h.memory.Initialized == a.SandboxID && !isMain {
		return // initialization is behind it
	}
	h.checkInitOrder(a, seen)
}

// checkInitOrder: whoever comes before in the list has succeeded, or, a sidecar,
// has at least been begun, in this sandbox.
func (h *harness) checkInitOrder(a Action, seen Observed) {
	for i := range h.pod.Spec.InitContainers {
		c := &h.pod.Spec.InitContainers[i]
		if c.Name == a.Container {
			return
		}
		ok := h.memory.Initialized == a.SandboxID && IsSidecar(c)
		for _, inst := range seen.Instances {
			if inst.Name == c.Name && inst.SandboxID == a.SandboxID {
				ok = ok || IsSidecar(c) || inst.State == Exited && inst.ExitCode == 0
			}
		}
		if !ok {
			h.fatalf("%s started before %s was done", a.Container, c.Name)
		}
	}
}

func (h *harness) checkSticky(m Memory) {
	if h.end != nil && !reflect.DeepEqual(h.end, m.End) {
		h.fatalf("the end changed from %v to %v", h.end, m.End)
	}
	h.end = m.End
	if h.stopped && m.Stop == nil {
		h.fatalf("Stop was taken back")
	}
	if m.Stop != nil {
		if h.stopped && m.Stop.Deadline.After(h.stopBy) {
			h.fatalf("the deadline moved away, from %s to %s", h.stopBy, m.Stop.Deadline)
		}
		h.stopped, h.stopBy = true, m.Stop.Deadline
	}
}

// checkFixedPoint: deciding again with nothing new asks for nothing new, and a
// machine with nothing under way says what it waits for.
func (h *harness) checkFixedPoint() {
	if len(h.outcomes) > 0 || h.forgot {
		return // a cancelled action ended at once, which is news; or nothing is left
	}
	again := h.decide()
	if len(again.Actions) > 0 || len(again.Events) > 0 || len(again.Log) > 0 {
		h.fatalf("not a fixed point: %v %v %v", again.Actions, again.Events, again.Log)
	}
	idle := len(h.inFlight) == 0 && h.wakeAt.IsZero() && len(again.Waits) == 0
	if idle && h.memory.Phase != Running && h.memory.Phase != Done {
		h.fatalf("idle in %s without a word", h.memory.Phase)
	}
	if !h.wakeAt.IsZero() && !h.wakeAt.After(h.now) {
		h.fatalf("wakes at %s, which is not in the future", h.wakeAt)
	}
}

// converge: once the world behaves, the machine gets where it should.
func (h *harness) converge() {
	h.fails = map[string]string{}
	for range 300 {
		for _, id := range h.doable() {
			h.finish(id)
		}
		h.check()
		if len(h.inFlight) > 0 || len(h.outcomes) > 0 {
			continue
		}
		if h.settled() {
			return
		}
		for _, name := range h.aliveNames() { // init containers end, startup probes pass
			c, inst := specOf(h.pod, name), h.live(name)
			if c.StartupProbe != nil {
				h.probes = append(h.probes, ProbeResult{Container: name, ContainerID: inst.ID, Kind: Startup, Verdict: Success, Attempt: Success})
			} else if c.Name[0] == 'i' && c.RestartPolicy == nil {
				h.exit(inst.ID, 0)
			}
		}
		if !h.wakeAt.IsZero() {
			h.now = h.wakeAt
		}
	}
	h.fatalf("does not converge: %s", h.memory.Phase)
}

func (h *harness) settled() bool {
	if s := h.memory.Stop; s != nil {
		return h.memory.Phase == Done && (h.forgot || !s.Delete && !s.Gone)
	}
	for _, c := range h.pod.Spec.Containers {
		inst := h.live(c.Name)
		mem := h.memory.Containers[c.Name]
		ended := mem.Last != nil && mem.Last.State == Exited && mem.Again.ID != mem.Last.ID && !pods.ShouldRestart(&c, h.pod.Spec.RestartPolicy, mem.Last.ExitCode)
		if !ended && (inst == nil || inst.State != Live) {
			return false
		}
	}
	return true
}

func (h *harness) fatalf(format string, args ...any) {
	h.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), tail(h.log.String()))
}
