package explain

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/control"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func metaAgo(d time.Duration) metav1.Time { return metav1.NewTime(ago(d)) }

// pod from its spec and status as YAML.
func pod(t *testing.T, text string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	p.Namespace, p.Name = "default", "web"
	p.CreationTimestamp = metaAgo(3 * time.Minute)
	if p.Spec.NodeName != "" {
		p.Status.StartTime = new(metaAgo(3 * time.Minute))
	}
	return p
}

const since = `"2026-11-22T11:58:00Z"`

// TestWhy holds what users read of pods in every kind of trouble.
func TestWhy(t *testing.T) {
	entry := func(d time.Duration, subject, what, why string) control.Entry {
		return control.Entry{At: ago(d), Subject: subject, What: what, Why: why}
	}
	for _, c := range []struct {
		name   string
		answer Answer
		limit  int
	}{
		{name: "no node fits", answer: Answer{
			Pod: pod(t, `{spec: {schedulerName: default-scheduler}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable,
				message: "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).", lastTransitionTime: `+since+`}]}}`),
			Nodes: []Node{{"one", []string{"Insufficient cpu"}}, {"two", []string{"node(s) had untolerated taint {dedicated: db}"}}},
		}},
		{name: "gated", answer: Answer{
			Pod: pod(t, `{spec: {schedulerName: default-scheduler, schedulingGates: [{name: example.com/quota}]}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated,
				message: Scheduling is blocked due to non-empty scheduling gates, lastTransitionTime: `+since+`}]}}`),
		}},
		{name: "another scheduler", answer: Answer{Pod: pod(t, `{spec: {schedulerName: mine}, status: {phase: Pending}}`)}},
		{name: "an image that can't be pulled", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff}}}]}}`),
			Explanation: &control.Explanation{
				Phase: "Preparing",
				Waits: []control.Wait{{Subject: "app", For: "another try to pull r.example/app:1, which failed: 401 Unauthorized", Since: ago(12 * time.Second), Until: ago(-8 * time.Second),
					Hint: "r.example asks for a password: secret regcred is for docker.io"}},
				Log: []control.Entry{entry(33*time.Second, "", "Admitted", "the node has room, and its labels and taints allow it"), entry(12*time.Second, "app", "PullImage failed", "r.example/app:1: 401 Unauthorized")},
			},
		}},
		{name: "a missing ConfigMap", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Pending}}`),
			Explanation: &control.Explanation{Waits: []control.Wait{{
				For: `another try of MountVolumes, which failed: MountVolume.SetUp failed for volume "v" : configmap "settings" not found`, Since: ago(time.Second), Until: ago(-time.Second)}}},
		}},
		{name: "a crash loop", limit: 2, answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff}}}]}}`),
			Explanation: &control.Explanation{
				Waits: []control.Wait{{Subject: "app", For: "back-off 40s after exit code 1", Since: ago(7 * time.Second), Until: ago(-33 * time.Second)}},
				Log: []control.Entry{entry(90*time.Second, "app", "StartContainer", "exit code 1; restartPolicy Always; back-off 20s is over"),
					entry(7*time.Second, "app", "Back-off", "exit code 1; restartPolicy Always; wait 40s until 12:00:33"), entry(7*time.Second, "", "x", "y")},
			},
		}},
		{name: "a command that is not there", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff}},
				lastState: {terminated: {reason: StartError, exitCode: 128, message: 'unable to start container process: exec: "nonesuch": executable file not found in $PATH'}}}]}}`),
			Explanation: &control.Explanation{
				Waits: []control.Wait{{Subject: "app", For: "back-off 10s after StartError, exit code 128", Since: ago(2 * time.Second), Until: ago(-8 * time.Second)}},
			},
		}},
		{name: "a readiness probe that fails", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app, readinessProbe: {httpGet: {path: /healthz, port: 8080}, successThreshold: 2}}]},
				status: {phase: Running, containerStatuses: [{name: app, started: true, state: {running: {startedAt: `+since+`}}}]}}`),
			Explanation: &control.Explanation{Phase: "Running", Probes: []control.Probe{{Container: "app", Kind: "Readiness", Verdict: "Failure", Run: 7, Threshold: 3,
				Output: "HTTP probe failed with statuscode: 503", At: ago(4 * time.Second)}},
				Spans: []control.Span{{Lane: "app", Kind: "ready", ID: "1", From: ago(170 * time.Second), To: ago(90 * time.Second)}, {Lane: "other", Kind: "ready", ID: "2", From: ago(170 * time.Second), To: ago(time.Second)}}},
		}},
		{name: "a startup probe that has not passed", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app, startupProbe: {exec: {command: [cat, /up]}}, readinessProbe: {tcpSocket: {port: web}}}]},
				status: {phase: Running, containerStatuses: [{name: app, started: false, state: {running: {startedAt: `+since+`}}}]}}`),
			Explanation: &control.Explanation{Phase: "Running", Probes: []control.Probe{{Container: "app", Kind: "Startup", Run: 1, Threshold: 30, Output: "cat: can't open '/up'\n", At: ago(time.Second)}}},
		}},
		{name: "a readiness gate", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Running, conditions: [{type: Ready, status: "False", reason: ReadinessGatesNotReady,
				message: 'corresponding condition of pod readiness gate "lb" does not exist.', lastTransitionTime: `+since+`}]}}`),
			Explanation: &control.Explanation{Phase: "Running"},
		}},
		{name: "well", answer: Answer{
			Pod:         pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Running, conditions: [{type: Ready, status: "True"}]}}`),
			Explanation: &control.Explanation{Phase: "Running"},
		}},
		{name: "failed", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Failed, reason: DeadlineExceeded, message: Pod was active on the node longer than the specified deadline,
				containerStatuses: [{name: app, state: {terminated: {exitCode: 137, reason: OOMKilled, finishedAt: `+since+`}}}]}}`),
			Explanation: &control.Explanation{Phase: "Done"},
		}},
		{name: "a resize that waits", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Running, conditions: [{type: PodResizePending, status: "True", reason: Deferred,
				message: "Node didn't have enough resource: cpu, requested: 4000, used: 100, capacity: 2000", lastTransitionTime: `+since+`}]}}`),
			Explanation: &control.Explanation{Phase: "Running"},
		}},
		{name: "held by a finalizer", answer: Answer{
			Pod: func() *v1.Pod {
				p := pod(t, `{metadata: {finalizers: [example.com/hold]}, spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Failed}}`)
				p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metaAgo(10*time.Second)), new(int64(30))
				return p
			}(),
			Explanation: &control.Explanation{Phase: "Done", Waits: []control.Wait{{For: "the API to drop the object (finalizers hold it)", Since: ago(9 * time.Second),
				Hint: "who set the finalizers must take them away: example.com/hold"}}},
		}},
		{name: "its node is silent", answer: Answer{Pod: pod(t, `{spec: {nodeName: lost, containers: [{name: app}]}, status: {phase: Running}}`)}},
		{name: "gone", answer: Answer{Explanation: &control.Explanation{
			Namespace: "default", Name: "web", GoneAt: ago(20 * time.Minute), Log: []control.Entry{entry(20*time.Minute, "", "Forgotten", "nothing of the pod is left, nor is its object")},
		}}},
		{name: "at work", answer: Answer{
			Pod: pod(t, `{spec: {nodeName: vm, containers: [{name: app}]}, status: {phase: Pending}}`),
			Explanation: &control.Explanation{Phase: "Preparing", InFlight: []control.InFlight{
				{Kind: "PullImage", Container: "app", Why: "imagePullPolicy Always", Since: ago(3200 * time.Millisecond)}}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.answer.Find()
			var out bytes.Buffer
			limit := c.limit
			if limit == 0 {
				limit = 12
			}
			c.answer.Why(&out, Style{Unicode: true, Width: 100, Zone: time.UTC}, now, limit)
			golden(t, "why", c.name, out.String())
			if _, err := json.Marshal(c.answer); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTimeline holds the charts of short, long and troubled lives, wide and narrow.
func TestTimeline(t *testing.T) {
	span := func(lane, kind string, from, to time.Duration, note string) control.Span {
		s := control.Span{Lane: lane, Kind: kind, ID: fmt.Sprint(lane, kind, from), From: now.Add(from), Note: note}
		if to > 0 {
			s.To = now.Add(to)
		}
		return s
	}
	failed := func(s control.Span) control.Span {
		s.Failed = true
		return s
	}
	ms, s, m, h := time.Millisecond, time.Second, time.Minute, time.Hour
	start := []control.Span{
		span("", "phase", 0, 45*ms, "Preparing"), span("", "volumes", 0, 38*ms, ""), span("", "sandbox", 5*ms, 45*ms, ""),
		span("setup", "pull", 5*ms, 900*ms, "busybox:1.28"), span("", "phase", 45*ms, 3*s, "Initializing"),
		span("setup", "start", 900*ms, 950*ms, "#0"), span("setup", "run", 950*ms, 2900*ms, "#0 exit 0"),
		span("app", "pull", 2910*ms, 2920*ms, "app:1"), span("app", "start", 2920*ms, 3*s, "#0"),
	}
	healthy := append(start[:len(start):len(start)],
		span("", "phase", 3*s, 0, "Running"), span("app", "run", 3*s, 0, "#0"), span("app", "ready", 8*s, 0, ""))
	crash := append(start[:len(start):len(start)],
		span("", "phase", 3*s, 70*s, "Running"), failed(span("app", "run", 3*s, 3100*ms, "#0 exit 1")),
		span("app", "start", 3200*ms, 3300*ms, "#1"), failed(span("app", "run", 3300*ms, 3400*ms, "#1 exit 1")), span("app", "backOff", 3400*ms, 13*s, "CrashLoopBackOff"),
		span("app", "start", 13*s, 13100*ms, "#2"), span("app", "run", 13100*ms, 70*s, "#2 exit 143"), span("app", "ready", 14*s, 60*s, ""),
		span("app", "preStop", 60*s, 65*s, ""), span("app", "stop", 65*s, 70*s, ""), span("", "phase", 60*s, 70*s, "Stopping"),
		span("", "release", 70*s, 70100*ms, "StopSandbox"), span("", "phase", 70*s, 70200*ms, "Releasing"))
	var loop []control.Span
	loop = append(loop, start...)
	for i := range 40 {
		at := 3*s + time.Duration(i)*5*m
		loop = append(loop, failed(span("app", "run", at, at+s, fmt.Sprintf("#%d exit 1", i))), span("app", "backOff", at+s, at+5*m, "CrashLoopBackOff"))
	}
	unicode := Style{Unicode: true, Width: 100, Zone: time.UTC}
	for _, c := range []struct {
		name  string
		spans []control.Span
		at    time.Duration
		gone  bool
		style Style
		limit int
	}{
		{name: "healthy", spans: healthy, at: 20 * s, style: unicode},
		{name: "healthy for days", spans: healthy, at: 75*h + 20*m, style: unicode},
		{name: "a crash, and its end", spans: crash, at: 2 * h, gone: true, style: unicode},
		{name: "narrow and plain", spans: crash, at: 2 * h, gone: true, style: Style{Width: 50, Zone: time.UTC}},
		{name: "in colour", spans: healthy, at: 20 * s, style: Style{Unicode: true, Color: true, Width: 60, Zone: time.UTC}},
		{name: "a long loop", spans: loop, at: 4 * h, style: unicode, limit: 12},
		{name: "nothing yet", style: unicode},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &control.Explanation{Namespace: "default", Name: "web", Spans: c.spans}
			if c.gone {
				e.GoneAt = now.Add(70200 * ms)
			}
			var out bytes.Buffer
			limit := c.limit
			if limit == 0 {
				limit = SpansShown
			}
			(&Answer{Explanation: e}).Timeline(&out, c.style, now.Add(c.at), limit)
			golden(t, "timeline", c.name, out.String())
			if !c.style.Color {
				checkWidth(t, out.String(), c.style.Width)
			}
		})
	}
}

// checkWidth of the chart; the list below it may have long words.
func checkWidth(t *testing.T, text string, width int) {
	chart, _, _ := strings.Cut(text, "took")
	for _, line := range strings.Split(chart, "\n") {
		if n := len([]rune(line)); n > width {
			t.Errorf("%d columns in a terminal of %d: %s", n, width, line)
		}
	}
}

func golden(t *testing.T, kind, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", kind+"-"+strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name)+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got; go test -update writes it):\n%s", diff)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 340 * time.Millisecond: "340ms", time.Second: "1s", 1250 * time.Millisecond: "1.2s", 9970 * time.Millisecond: "10s",
		151 * time.Second: "2m31s", 2 * time.Minute: "2m", 182 * time.Minute: "3h2m", 52 * time.Hour: "2d4h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
