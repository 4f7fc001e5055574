package core

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
)

func TestPodGrace(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	scheduled := func(spec *int64, phase v1.PodPhase) *v1.Pod {
		return &v1.Pod{Spec: v1.PodSpec{NodeName: "n1", TerminationGracePeriodSeconds: spec}, Status: v1.PodStatus{Phase: phase}}
	}
	for _, c := range []struct {
		name  string
		pod   *v1.Pod
		asked *int64
		want  int64
	}{
		{"the spec's", scheduled(seconds(40), v1.PodRunning), nil, 40},
		{"asked for", scheduled(seconds(40), v1.PodRunning), seconds(5), 5},
		{"asked for more", scheduled(seconds(40), v1.PodRunning), seconds(50), 50},
		{"at once", scheduled(seconds(40), v1.PodRunning), seconds(0), 0},
		{"negative", scheduled(seconds(40), v1.PodRunning), seconds(-1), 1},
		{"negative in the spec", scheduled(seconds(-7), v1.PodRunning), nil, 1},
		{"nothing said", scheduled(nil, v1.PodRunning), nil, 0},
		{"not scheduled", &v1.Pod{Spec: v1.PodSpec{TerminationGracePeriodSeconds: seconds(40)}}, seconds(9), 0},
		{"succeeded", scheduled(seconds(40), v1.PodSucceeded), nil, 0},
		{"failed", scheduled(seconds(40), v1.PodFailed), seconds(9), 0},
	} {
		if got, ok := Pods().Delete(c.pod, c.asked); got != c.want || !ok {
			t.Errorf("%s: %d, %v; want %d", c.name, got, ok, c.want)
		}
	}
}

func TestSelectableFields(t *testing.T) {
	want := []string{
		"spec.hostNetwork", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
		"status.nominatedNodeName", "status.phase", "status.podIP",
	}
	got := Pods().Fields(&v1.Pod{})
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Error(diff)
	}
	if _, ok := got[Pods().IndexField]; !ok {
		t.Errorf("%s is the index and not selectable", Pods().IndexField)
	}
	if got := Nodes().Fields(&v1.Node{Spec: v1.NodeSpec{Unschedulable: true}}); got["spec.unschedulable"] != "true" {
		t.Error(got)
	}
}

// TestTimesInRow: stock prints times against its own clock, so they are not in testdata.
func TestTimesInRow(t *testing.T) {
	now := metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	ended := func(d time.Duration) v1.ContainerState {
		return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", FinishedAt: ago(d)}}
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: ago(49 * time.Hour)},
		Spec:       v1.PodSpec{InitContainers: []v1.Container{{Name: "i"}}, Containers: []v1.Container{{Name: "a"}, {Name: "b"}}},
		Status: v1.PodStatus{
			Phase: v1.PodRunning,
			InitContainerStatuses: []v1.ContainerStatus{
				{Name: "i", RestartCount: 9, LastTerminationState: ended(time.Second), State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}},
			},
			ContainerStatuses: []v1.ContainerStatus{
				{Name: "a", RestartCount: 1, LastTerminationState: ended(5 * time.Minute), Ready: true, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
				{Name: "b", RestartCount: 2, LastTerminationState: ended(12 * time.Second), State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
			},
		},
	}
	want := []any{"p", "1/2", "CrashLoopBackOff", "3 (12s ago)", "2d1h", "<none>", "<none>", "<none>", "<none>"}
	if diff := cmp.Diff(want, Pods().Row(pod, now)); diff != "" {
		t.Error(diff)
	}
	if got := len(Pods().Columns); got != len(want) {
		t.Errorf("%d columns, %d cells", got, len(want))
	}
}

func TestGatedPodIsToldSo(t *testing.T) {
	created := metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: created},
		Spec:       v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: "a.b/c"}}},
		Status:     v1.PodStatus{Phase: v1.PodRunning, PodIP: "10.0.0.1"}, // a client's say, to be cleared
	}
	Pods().Prepare(context.Background(), pod)
	want := v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort, Conditions: []v1.PodCondition{{
		Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: "SchedulingGated",
		Message: "Scheduling is blocked due to non-empty scheduling gates", LastTransitionTime: created,
	}}}
	if diff := cmp.Diff(want, pod.Status); diff != "" {
		t.Error(diff)
	}
}

// TestStopSignal: stock v1.37 drops the field by default; we serve it (SPEC P12).
func TestStopSignal(t *testing.T) {
	for _, c := range []struct{ os, signal, want string }{
		{"", "SIGTERM", "error: spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"},
		{"linux", "SIGRTMIN+3", "ok"},
		{"linux", "SIGUSR1", "ok"},
		{"windows", "SIGUSR1", `error: spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGUSR1": supported values: "SIGKILL", "SIGTERM"`},
	} {
		patch := `spec: {containers: [{name: a, image: i, lifecycle: {stopSignal: ` + c.signal + `}}]`
		if c.os != "" {
			patch += `, os: {name: ` + c.os + `}`
		}
		if got := answer(t, nil, patch+"}"); got != c.want {
			t.Errorf("%s on %q:\n got %s\nwant %s", c.signal, c.os, got, c.want)
		}
	}
	signals := answer(t, nil, `spec: {os: {name: linux}, containers: [{name: a, image: i, lifecycle: {stopSignal: SIGFOO}}]}`)
	if n := strings.Count(signals, `"SIG`); n != 66 { // 65 names, and the refused one
		t.Errorf("%d signals: %s", n, signals)
	}
}

// TestRefusedUpdateShowsTheField: the message ends in a diff in the API's own names.
func TestRefusedUpdateShowsTheField(t *testing.T) {
	got := answer(t, []string{"update"}, "spec: {}\n@new\nspec: {hostNetwork: true}\n")
	if !strings.Contains(got, `\n+ "hostNetwork": true`) {
		t.Error(got)
	}
}

// pods are objects that clients send: patches of the recorded cases.
func podGenerator(t *testing.T) *rapid.Generator[*v1.Pod] {
	patches := recordedPatches(t)
	return rapid.Custom(func(rt *rapid.T) *v1.Pod {
		raw := throughJSON[any](t, map[string]any(bases["Pod"]))
		for range rapid.IntRange(1, 3).Draw(rt, "patches") {
			raw = mergePatch(raw, throughJSON[any](t, rapid.SampledFrom(patches).Draw(rt, "patch")))
		}
		data, err := json.Marshal(raw)
		if err != nil {
			rt.Fatal(err)
		}
		pod := &v1.Pod{}
		if err := json.Unmarshal(data, pod); err != nil {
			rt.Fatal(err)
		}
		return pod
	})
}

func TestDefaultingIsIdempotent(t *testing.T) {
	pods, r := podGenerator(t), Pods()
	rapid.Check(t, func(t *rapid.T) {
		pod := pods.Draw(t, "pod")
		r.Default(pod)
		once := pod.DeepCopy()
		r.Default(pod)
		if diff := cmp.Diff(once, pod); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestNoChangeIsAllowed: whatever was created may be written back as it was read,
// and what was read is valid: a stored pod never gets stuck.
func TestNoChangeIsAllowed(t *testing.T) {
	pods, r := podGenerator(t), Pods()
	ctx := context.Background()
	created := 0
	rapid.Check(t, func(rt *rapid.T) {
		pod := pods.Draw(rt, "pod")
		r.Default(pod)
		r.Prepare(ctx, pod)
		if len(r.Check(ctx, pod)) > 0 {
			rt.Skip("refused at creation")
		}
		created++
		r.Default(pod) // as it is read back
		for name, u := range map[string]struct {
			prepare func(context.Context, runtime.Object, runtime.Object)
			errs    int
		}{
			"update":              {prepare: r.PrepareUpdate},
			"status":              {prepare: r.Subresources["status"].PrepareUpdate},
			"ephemeralcontainers": {prepare: r.Subresources["ephemeralcontainers"].PrepareUpdate},
			"resize":              {prepare: r.Subresources["resize"].PrepareUpdate},
		} {
			same := pod.DeepCopy()
			u.prepare(ctx, same, pod)
			if !equality.Semantic.DeepEqual(same.Spec, pod.Spec) || !equality.Semantic.DeepEqual(same.Status, pod.Status) {
				rt.Fatalf("%s changes a pod that was not changed:\n%s", name, cmp.Diff(pod, same))
			}
			check := r.CheckUpdate
			if name != "update" {
				check = r.Subresources[name].CheckUpdate
			}
			if name == "resize" && pod.Spec.OS != nil && pod.Spec.OS.Name == v1.Windows {
				continue // never
			}
			if _, mirror := pod.Annotations[v1.MirrorPodAnnotationKey]; mirror && (name == "resize" || name == "ephemeralcontainers") {
				continue // never
			}
			if errs := check(ctx, same, pod); len(errs) > 0 {
				rt.Fatalf("%s: %v", name, errs)
			}
		}
	})
	if created == 0 {
		t.Fatal("no pod was valid")
	}
}

// TestUpdateTouchesOnlyWhatItMay: an update is accepted if and only if all its
// changes are among those that the API allows.
func TestUpdateTouchesOnlyWhatItMay(t *testing.T) {
	allowed := []string{
		`metadata: {labels: {a: b}}`,
		`metadata: {annotations: {a: b}}`,
		`spec: {containers: [{name: c, image: "other:1"}]}`,
		`spec: {activeDeadlineSeconds: 5}`,
		`spec: {tolerations: [{key: a, operator: Exists}]}`,
		`status: {phase: Failed}`,
	}
	refused := []string{
		`spec: {nodeName: n1}`,
		`spec: {hostNetwork: true}`,
		`spec: {priority: 7}`,
		`spec: {restartPolicy: Never}`,
		`spec: {terminationGracePeriodSeconds: 1}`,
		`spec: {nodeSelector: {a: b}}`,
		`spec: {schedulingGates: [{name: a.b/c}]}`,
		`spec: {volumes: [{name: v, emptyDir: {}}]}`,
		`spec: {initContainers: [{name: i, image: i}]}`,
		`spec: {ephemeralContainers: [{name: e, image: i}]}`,
		`spec: {securityContext: {runAsUser: 5}}`,
		`spec: {resources: {limits: {cpu: 1}}}`,
		`metadata: {finalizers: [plain]}`,
		`metadata: {name: other}`,
	}
	r := Pods()
	rapid.Check(t, func(rt *rapid.T) {
		changes := rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(allowed), refused...)), 0, 4, rapid.ID).Draw(rt, "changes")
		raw := any(throughJSON[any](t, map[string]any(bases["Pod"])))
		old, _ := patched(t, r, raw, "")
		for _, change := range changes {
			_, raw = patched(t, r, raw, change)
		}
		pod, _ := patched(t, r, raw, "")
		wantRefused := slices.ContainsFunc(changes, func(c string) bool { return slices.Contains(refused, c) })
		if errs := update(context.Background(), r, "update", pod, old); wantRefused != (len(errs) > 0) {
			rt.Fatalf("%q: %v", changes, errs)
		}
		if pod.(*v1.Pod).Status.Phase != "" {
			rt.Fatal("an update of the pod changed its status")
		}
	})
}

// FuzzPod: no input makes the rules panic.
func FuzzPod(f *testing.F) {
	for _, patch := range recordedPatches(f) {
		data, err := json.Marshal(patch)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	r := Pods()
	f.Fuzz(func(_ *testing.T, data []byte) {
		pod := &v1.Pod{}
		if json.Unmarshal(data, pod) != nil {
			return
		}
		ctx := context.Background()
		r.Row(pod, metav1.Time{})
		r.Default(pod)
		old := pod.DeepCopy()
		r.Prepare(ctx, pod)
		if len(r.Check(ctx, pod)) == 0 {
			r.Warn(ctx, pod)
		}
		r.PrepareUpdate(ctx, pod, old)
		r.CheckUpdate(ctx, pod, old)
		for _, u := range r.Subresources {
			u.PrepareUpdate(ctx, pod, old)
			u.CheckUpdate(ctx, pod, old)
		}
	})
}
