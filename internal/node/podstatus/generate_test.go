package podstatus

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/node/podlife"
)

var update = flag.Bool("update", false, "write testdata/status.txt anew")

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const always = "restartPolicy: Always\n"

// cases are pods at one moment of their lives; testdata/status.txt has what the
// API shows of each.
var cases = []struct {
	name     string
	spec     string
	observed podlife.Observed
	memory   podlife.Memory
	previous v1.PodStatus
	api      v1.PodStatus
}{
	{name: "nothing is there yet", spec: always + "containers: [{name: app, image: nginx}]"},
	{
		name: "running and ready", spec: always + "containers: [{name: app, image: nginx}]",
		observed: up(run("app", 0)),
	},
	{
		name: "two containers, one not ready", spec: always + "containers: [{name: b, image: x, readinessProbe: {tcpSocket: {port: 1}}}, {name: a, image: x}]",
		observed: up(run("a", 0), run("b", 0)),
	},
	{
		name: "startup probe not passed", spec: always + "containers: [{name: a, image: x, startupProbe: {tcpSocket: {port: 1}}}]",
		observed: up(run("a", 0)),
	},
	{
		name: "postStart hook not over", spec: always + "containers: [{name: a, image: x}]",
		observed: up(run("a", 0)),
		memory:   remember("a", podlife.ContainerMemory{Hook: &podlife.Hook{}}),
	},
	{
		name: "crash loop", spec: always + "containers: [{name: app, image: x}]",
		observed: up(exit("app", 3, 1), exit("app", 2, 2)),
		memory: remember("app", podlife.ContainerMemory{Waiting: &podlife.Waiting{
			Reason: "CrashLoopBackOff", Message: "back-off 40s restarting failed container=app pod=web_default(1-2-3)"}}),
	},
	{
		name: "restarted at once", spec: always + "containers: [{name: app, image: x}]",
		observed: up(exit("app", 0, 1)),
	},
	{
		name: "restarted", spec: always + "containers: [{name: app, image: x}]",
		observed: up(run("app", 1), exit("app", 0, 137)),
	},
	{
		name: "image can't be pulled", spec: always + "containers: [{name: app, image: x}]",
		observed: up(),
		memory: remember("app", podlife.ContainerMemory{Waiting: &podlife.Waiting{
			Reason: "ImagePullBackOff", Message: `Back-off pulling image "x": ErrImagePull: not found`}}),
	},
	{
		name: "initializing", spec: always + "initContainers: [{name: one, image: x}, {name: two, image: x}]\ncontainers: [{name: app, image: x}]",
		observed: up(exit("one", 0, 0), run("two", 0)),
	},
	{
		name: "init fails again and again", spec: always + "initContainers: [{name: one, image: x}]\ncontainers: [{name: app, image: x}]",
		observed: up(exit("one", 1, 1)),
		memory: remember("one", podlife.ContainerMemory{Waiting: &podlife.Waiting{
			Reason: "CrashLoopBackOff", Message: "back-off 10s restarting failed container=one pod=web_default(1-2-3)"}}),
	},
	{
		name: "sidecar and main", spec: always + "initContainers: [{name: proxy, image: x, restartPolicy: Always}]\ncontainers: [{name: app, image: x}]",
		observed: up(run("proxy", 0), run("app", 0)),
	},
	{
		name: "succeeded", spec: "restartPolicy: Never\ncontainers: [{name: app, image: x}]",
		observed: down(exit("app", 0, 0)),
		memory:   podlife.Memory{End: &podlife.End{Phase: v1.PodSucceeded}, Stop: &podlife.Stop{Kind: podlife.StopCompleted}},
		previous: v1.PodStatus{PodIP: "10.0.0.7", PodIPs: []v1.PodIP{{IP: "10.0.0.7"}}},
	},
	{
		name: "failed", spec: "restartPolicy: Never\ncontainers: [{name: app, image: x}, {name: b, image: x}]",
		observed: down(exit("app", 0, 137), exit("b", 0, 0)),
		memory:   podlife.Memory{End: &podlife.End{Phase: v1.PodFailed}, Stop: &podlife.Stop{Kind: podlife.StopCompleted}},
	},
	{
		name: "rejected", spec: always + "containers: [{name: app, image: x}]",
		memory: podlife.Memory{
			End:  &podlife.End{Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 0, capacity: 2000"},
			Stop: &podlife.Stop{Kind: podlife.StopRejected},
		},
	},
	{
		name: "evicted", spec: always + "containers: [{name: app, image: x}]",
		observed: down(exit("app", 0, 143)),
		memory: podlife.Memory{
			End:  &podlife.End{Phase: v1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."},
			Stop: &podlife.Stop{Kind: podlife.StopEvicted, Message: "The node was low on resource: memory."},
		},
	},
	{
		name: "readiness gate closed", spec: always + "readinessGates: [{conditionType: example.com/lb}]\ncontainers: [{name: app, image: x}]",
		observed: up(run("app", 0)),
	},
	{
		name: "readiness gate open", spec: always + "readinessGates: [{conditionType: example.com/lb}]\ncontainers: [{name: app, image: x}]",
		observed: up(run("app", 0)),
		api:      v1.PodStatus{Conditions: []v1.PodCondition{{Type: "example.com/lb", Status: v1.ConditionTrue}}},
	},
	{
		name: "the sandbox is lost", spec: always + "containers: [{name: app, image: x}]",
		observed: down(exit("app", 0, 137)),
		previous: v1.PodStatus{PodIP: "10.0.0.7", PodIPs: []v1.PodIP{{IP: "10.0.0.7"}}},
	},
	{
		name: "terminal in the API stays so", spec: always + "containers: [{name: app, image: x}]",
		observed: up(run("app", 0)),
		api:      v1.PodStatus{Phase: v1.PodFailed, Reason: "NodeLost"},
	},
}

func TestGenerate(t *testing.T) {
	var out strings.Builder
	for _, c := range cases {
		pod := &v1.Pod{Status: c.api}
		if err := yaml.UnmarshalStrict([]byte(c.spec), &pod.Spec); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		c.memory.StartTime = start
		if c.observed.Sandboxes != nil {
			c.observed.Volumes = podlife.Present
		}
		s := Generate(Input{
			Pod: pod, Previous: c.previous, Observed: c.observed, Memory: c.memory,
			HostIPs: []string{"192.168.1.2"}, Runtime: "proa", Now: start.Add(time.Minute),
		})
		fmt.Fprintf(&out, "# %s\n%s\n", c.name, render(s))
	}
	const file = "testdata/status.txt"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("status changed (-want +got; -update writes it):\n%s", diff)
	}
}

// TestTransitionTimes: a condition that did not change keeps its time.
func TestTransitionTimes(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "app"}}}}
	in := Input{Pod: pod, Observed: up(run("app", 0)), Now: start}
	in.Observed.Volumes = podlife.Present
	first := Generate(in)
	in.Previous, in.Now = first, start.Add(time.Hour)
	second := Generate(in)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("nothing happened, yet the status changed:\n%s", diff)
	}
}

func up(list ...podlife.Instance) podlife.Observed {
	o := down(list...)
	o.Sandboxes[0].Ready = true
	return o
}

func down(list ...podlife.Instance) podlife.Observed {
	return podlife.Observed{
		Known: true, Instances: list,
		Sandboxes: []podlife.Sandbox{{ID: "sb", IPs: []string{"fd00::7", "10.0.0.7"}}},
	}
}

func run(name string, attempt int) podlife.Instance {
	return podlife.Instance{
		ID: fmt.Sprintf("%s%d", name, attempt), Name: name, Attempt: attempt, State: podlife.Live, SandboxID: "sb",
		StartedAt: start, Image: "docker.io/library/x:latest", ImageRef: "docker.io/library/x@sha256:1",
	}
}

func exit(name string, attempt int, code int32) podlife.Instance {
	i := run(name, attempt)
	i.State, i.ExitCode, i.FinishedAt, i.Reason = podlife.Exited, code, start.Add(time.Second), "Error"
	if code == 0 {
		i.Reason = "Completed"
	}
	return i
}

func remember(name string, m podlife.ContainerMemory) podlife.Memory {
	return podlife.Memory{Containers: map[string]podlife.ContainerMemory{name: m}}
}

// render is the status without what is the same in every case.
func render(s v1.PodStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "phase %s %s %s qos=%s ips=%v\n", s.Phase, s.Reason, s.Message, s.QOSClass, s.PodIPs)
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&b, "  %s %s restarts=%d ready=%t started=%t id=%s image=%s\n", c.Name, state(c.State), c.RestartCount, c.Ready, *c.Started, c.ContainerID, c.Image)
			if c.LastTerminationState.Terminated != nil {
				fmt.Fprintf(&b, "    last %s\n", state(c.LastTerminationState))
			}
		}
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	var lines []string
	for l := range strings.Lines(b.String()) {
		lines = append(lines, strings.TrimRight(l, " \n"))
	}
	return strings.Join(lines, "\n") + "\n"
}

func state(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "Running since " + s.Running.StartedAt.UTC().Format(time.TimeOnly)
	case s.Terminated != nil:
		return fmt.Sprintf("Terminated %s %d %s", s.Terminated.Reason, s.Terminated.ExitCode, s.Terminated.Message)
	case s.Waiting != nil:
		return fmt.Sprintf("Waiting %s %s", s.Waiting.Reason, s.Waiting.Message)
	}
	return "none"
}

// All messages together have 12 KiB, an equal part for each container.
func TestMessagesShareTheirRoom(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{InitContainers: make([]v1.Container, 1), Containers: make([]v1.Container, 3)}}
	if got := fitting(pod, strings.Repeat("ä", 3000)); len(got) != 3072 {
		t.Errorf("%d bytes", len(got))
	}
	if got := fitting(pod, "x"+strings.Repeat("ä", 3000)); len(got) != 3071 {
		t.Errorf("%d bytes: half a letter is none", len(got))
	}
	if got := fitting(pod, "short"); got != "short" {
		t.Errorf("%q", got)
	}
}
