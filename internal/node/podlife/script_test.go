package podlife

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what the machine does into testdata/*.txt")

// TestScripts runs the lifecycles of testdata/*.txt. A script is a list of
// commands, each followed by ---- and what it makes the machine do:
//
//	pod              a pod (YAML follows) arrives at the node
//	edit             its spec is replaced
//	tick 10s         time passes
//	exit app 1       the process of a container ends
//	ignore app       the container ignores TERM
//	room [WHY NONE]  the node has room for resizes, or none
//	probe app Liveness Failure 3/3 no answer
//	fail KEY MESSAGE actions fail from now on ("fail PullImage app ErrImagePull: not found"); ok KEY ends it
//	slow KEY 45s     actions take long ("slow prestop app 45s")
//	hold KIND, release KIND
//	delete grace=30s the API asks for the pod's deletion; gone: the object is gone; evict REASON MESSAGE
//	lose sandbox     its pause process dies; lose app: the runtime forgets the container
//	crash [journal]  the agent is killed and starts again (its journal lost)
//	state            phase, containers, what is waited for
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(b), got); diff != "" {
				t.Errorf("behaviour changed (-script +now; go test -update writes it):\n%s", diff)
			}
		})
	}
}

// runScript returns the script with the output that its commands give now.
func runScript(t *testing.T, script string) string {
	var out strings.Builder
	w := newWorld(nil) // commands before `pod` say how the node behaves
	for _, block := range strings.Split(strings.TrimRight(script, "\n"), "\n\n") {
		command, _, _ := strings.Cut(block, "\n----")
		var lines []string
		for _, l := range strings.Split(command, "\n") {
			if !strings.HasPrefix(l, "#") {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			out.WriteString(block + "\n\n") // a comment alone
			continue
		}
		if strings.HasPrefix(lines[0], "pod") {
			w.pod = parsePod(t, lines[1:])
			w.settle()
		} else {
			w.command(t, lines)
		}
		fmt.Fprintf(&out, "%s\n----\n%s\n", command, w.log.String())
		w.log.Reset()
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func parsePod(t *testing.T, lines []string) *v1.Pod {
	pod := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(strings.Join(lines, "\n")), &pod.Spec); err != nil {
		t.Fatal(err)
	}
	pod.Name, pod.Namespace, pod.UID = "web", "default", "1-2-3"
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = v1.RestartPolicyAlways
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Image == "" {
				list[i].Image = "img"
			}
			list[i].ImagePullPolicy = v1.PullIfNotPresent
		}
	}
	return pod
}

func (w *world) command(t *testing.T, lines []string) {
	f := strings.Fields(lines[0])
	rest := strings.Join(f[1:], " ")
	switch f[0] {
	case "edit":
		generation := w.pod.Generation
		w.pod = parsePod(t, lines[1:])
		w.pod.Generation = generation + 1
	case "tick":
		w.tick(duration(t, f[1]))
		return
	case "exit":
		code, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		inst := w.live(f[1])
		if inst == nil {
			t.Fatalf("%s: no live %s", lines[0], f[1])
		}
		w.exit(inst.ID, int32(code))
	case "room": // for resizes; or none, and why
		w.noRoom = rest
	case "ignore":
		w.stubborn[f[1]] = true
		return
	case "probe":
		w.probe(t, f)
	case "fail":
		key := f[1]
		if strings.Contains(f[1], "Image") || strings.Contains(f[1], "Container") || strings.HasPrefix(f[1], "p") {
			key += " " + f[2]
		}
		w.fails[key] = strings.TrimSpace(strings.TrimPrefix(rest, key))
		return
	case "ok":
		delete(w.fails, rest)
		return
	case "slow":
		w.slow[strings.Join(f[1:len(f)-1], " ")] = duration(t, f[len(f)-1])
		return
	case "hold":
		w.held[Kind(f[1])] = true
		return
	case "release":
		delete(w.held, Kind(f[1]))
		for _, id := range w.doable() {
			w.finish(id)
		}
	case "delete":
		w.want.Stop, w.want.Grace = StopDeleted, duration(t, strings.TrimPrefix(f[1], "grace="))
	case "gone":
		w.want.Stop, w.want.Grace = StopGone, duration(t, strings.TrimPrefix(f[1], "grace="))
	case "evict":
		w.want = Want{Stop: StopEvicted, Reason: f[1], Message: strings.Join(f[2:], " "), Grace: 0, Admission: w.want.Admission}
	case "reject":
		w.want.Admission = &Admission{Reason: f[1], Message: strings.Join(f[2:], " ")}
		return
	case "nudge":
		w.outcomes = append(w.outcomes, Outcome{Nudge: true, At: w.now})
	case "lose":
		w.lose(f[1])
	case "crash":
		w.crash(len(f) > 1)
	case "state":
		w.state()
		return
	default:
		t.Fatalf("unknown command %q", lines[0])
	}
	w.settle()
}

func (w *world) lose(what string) {
	if what == "sandbox" {
		for i := range w.seen.Sandboxes {
			w.seen.Sandboxes[i].Ready = false
		}
		return
	}
	for i, inst := range w.seen.Instances {
		if inst.Name == what {
			w.seen.Instances = append(w.seen.Instances[:i], w.seen.Instances[i+1:]...)
			return
		}
	}
}

func (w *world) probe(t *testing.T, f []string) {
	inst := w.live(f[1])
	if inst == nil {
		t.Fatalf("no live %s to probe", f[1])
	}
	r := ProbeResult{
		UID: w.pod.UID, Container: f[1], ContainerID: inst.ID, Kind: ProbeKind(f[2]),
		Verdict: Verdict(f[3]), Attempt: Verdict(f[3]), Output: strings.Join(f[5:], " "), At: w.now,
	}
	if _, err := fmt.Sscanf(f[4], "%d/%d", &r.Run, &r.Threshold); err != nil {
		t.Fatal(err)
	}
	w.probes = append(w.probes, r)
}

func (w *world) state() {
	m := w.memory
	w.printf("phase %s", m.Phase)
	if m.Stop != nil {
		w.printf(", stopping: %s", m.Stop.Kind)
	}
	if m.End != nil {
		w.printf(", ended: %s %s", m.End.Phase, m.End.Reason)
	}
	if w.forgot {
		w.printf(", forgotten")
	}
	if r := m.ResizePending; r != nil {
		w.printf(", resize %d pending: %s: %s", r.Generation, r.Reason, r.Message)
	}
	if r := m.Resizing; r != nil {
		w.printf(", resize %d in progress %s %s", r.Generation, r.Reason, r.Message)
	}
	w.printf("\n")
	for _, inst := range w.snapshot().Instances {
		w.printf("  %s #%d %s", inst.Name, inst.Attempt, inst.State)
		if inst.State == Exited {
			w.printf(" %d", inst.ExitCode)
		}
		w.printf("\n")
	}
	for _, name := range names(w.pod) {
		if wait := m.Containers[name].Waiting; wait != nil {
			w.printf("  %s shows %s: %s\n", name, wait.Reason, wait.Message)
		}
	}
	for _, wait := range w.last.Waits {
		w.printf("  waits for %s", wait.For)
		if wait.Subject != "" {
			w.printf(" (%s)", wait.Subject)
		}
		if !wait.Until.IsZero() {
			w.printf(" until +%s", wait.Until.Sub(w.start))
		}
		w.printf("\n")
	}
}

func names(pod *v1.Pod) []string {
	var out []string
	for _, c := range pod.Spec.InitContainers {
		out = append(out, c.Name)
	}
	for _, c := range pod.Spec.Containers {
		out = append(out, c.Name)
	}
	return out
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
