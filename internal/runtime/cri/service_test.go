package cri

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

var background = context.Background()

func podConfigFor(t testing.TB, name string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name + "-uid"},
		Hostname:     name,
		LogDirectory: t.TempDir(),
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
}

func (f *fixture) runPod(name string) string {
	f.t.Helper()
	resp, err := f.RunPodSandbox(background, &runtimeapi.RunPodSandboxRequest{Config: podConfigFor(f.t, name)})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.PodSandboxId
}

func containerConfigFor(name string, cmd ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: testImage}, Command: cmd, LogPath: name + "/0.log",
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
}

func (f *fixture) createContainer(pod, name string, cmd ...string) (string, error) {
	resp, err := f.CreateContainer(background, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfigFor(name, cmd...)})
	return resp.GetContainerId(), err
}

func (f *fixture) runContainer(pod, name string, cmd ...string) string {
	f.t.Helper()
	id, err := f.createContainer(pod, name, cmd...)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.StartContainer(background, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		f.t.Fatal(err)
	}
	return id
}

// leftovers is everything that is still somewhere: it must be empty after a
// failure or a removal.
func (f *fixture) leftovers() []string {
	f.t.Helper()
	var out []string
	for _, dir := range []string{"sandboxes", "containers", "etc"} {
		entries, err := os.ReadDir(filepath.Join(f.cfg.StateDir, dir))
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, dir+"/"+e.Name())
		}
	}
	mounts, _ := os.ReadDir(f.cfg.ContainersDir)
	for _, e := range mounts {
		out = append(out, "mounts/"+e.Name())
	}
	keys, err := f.cfg.Images.Keys(background)
	must(f.t, err)
	for _, k := range keys {
		out = append(out, "snapshot/"+k)
	}
	sandboxes, err := f.cfg.Keeper.Sandboxes(background)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range sandboxes {
		out = append(out, "keeper sandbox/"+s.ID)
	}
	containers, err := f.cfg.Keeper.Containers(background)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range containers {
		out = append(out, "keeper container/"+c.ID)
	}
	f.network.mu.Lock()
	defer f.network.mu.Unlock()
	for id := range f.network.attached {
		out = append(out, "network/"+id)
	}
	return out
}

func (f *fixture) wantNothingLeft() {
	f.t.Helper()
	if left := f.leftovers(); len(left) > 0 {
		f.t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}

func TestFailedSandboxLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	for name, breakIt := range map[string]func(f *fixture, err error){
		"keeper":  func(f *fixture, err error) { f.keeper.Fail("StartSandbox", err) },
		"network": func(f *fixture, err error) { f.network.fail = err },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			breakIt(f, boom)
			req := &runtimeapi.RunPodSandboxRequest{Config: podConfigFor(t, "p")}
			if _, err := f.RunPodSandbox(background, req); !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			f.wantNothingLeft()
			breakIt(f, nil)
			if _, err := f.RunPodSandbox(background, req); err != nil {
				t.Errorf("the name is not free again: %v", err)
			}
		})
	}
}

func TestSandboxThatCantBeUndoneIsShown(t *testing.T) {
	f := newFixture(t)
	f.network.fail = errors.New("no addresses left")
	f.keeper.Fail("RemoveSandbox", errors.New("stuck"))
	if _, err := f.RunPodSandbox(background, &runtimeapi.RunPodSandboxRequest{Config: podConfigFor(t, "p")}); err == nil {
		t.Fatal("it ran")
	}
	list, err := f.ListPodSandbox(background, &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(list.Items) != 1 || list.Items[0].State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Fatalf("list %v, %v", list, err)
	}
	f.keeper.Fail("RemoveSandbox", nil)
	if _, err := f.RemovePodSandbox(background, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: list.Items[0].Id}); err != nil {
		t.Fatal(err)
	}
	f.wantNothingLeft()
}

func TestFailedContainerLeavesNothing(t *testing.T) {
	boom := errors.New("no space left on device")
	for name, breakIt := range map[string]func(f *fixture){
		"snapshot": func(f *fixture) { f.images.fail = boom },
		"keeper":   func(f *fixture) { f.keeper.Fail("Create", boom) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pod := f.runPod("p")
			before := f.leftovers()
			breakIt(f)
			if _, err := f.createContainer(pod, "app", "sleep"); !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			if after := f.leftovers(); len(after) != len(before) {
				t.Errorf("before %v, after %v", before, after)
			}
			f.images.fail = nil
			f.keeper.Fail("Create", nil)
			if _, err := f.createContainer(pod, "app", "sleep"); err != nil {
				t.Errorf("the name is not free again: %v", err)
			}
		})
	}
}

func TestRemovalLeavesNothing(t *testing.T) {
	f := newFixture(t)
	pod := f.runPod("p")
	f.runContainer(pod, "a", "sleep")
	f.runContainer(pod, "b", "true")
	if _, err := f.createContainer(pod, "c", "sleep"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemovePodSandbox(background, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	f.wantNothingLeft()
}

// A removal that fails half-way is finished by the next, or after a restart.
func TestRemovalIsResumed(t *testing.T) {
	for _, method := range []string{"Remove", "RemoveSandbox", "StopSandbox"} {
		for _, restart := range []bool{false, true} {
			f := newFixture(t)
			pod := f.runPod("p")
			f.runContainer(pod, "a", "sleep")
			f.keeper.Fail(method, errors.New("stuck"))
			req := &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}
			if _, err := f.RemovePodSandbox(background, req); err == nil {
				t.Fatalf("%s: removed", method)
			}
			f.keeper.Fail(method, nil)
			if restart {
				f.restart()
			}
			if _, err := f.RemovePodSandbox(background, req); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			f.wantNothingLeft()
		}
	}
}

// What a crash left half-made is gone after the start.
func TestRestartCleansUp(t *testing.T) {
	f := newFixture(t)
	pod := f.runPod("p")
	id := f.runContainer(pod, "a", "sleep")
	keep := f.leftovers()
	f.stop()

	half := sandboxRecord{ID: "half", Config: podConfigFor(t, "half"), Created: time.Now()}
	must(t, f.Service.store.saveSandbox(&half))
	_, err := f.keeper.StartSandbox(background, keeper.Sandbox{ID: "half", Cgroup: "/x/half"})
	must(t, err)
	_, err = f.network.Attach(background, AttachRequest{SandboxID: "half"})
	must(t, err)
	must(t, f.Service.store.saveContainer(&containerRecord{ID: "uncreated", SandboxID: pod, Config: containerConfigFor("b", "sleep")}))
	_, err = f.images.Prepare(background, "uncreated", "", SnapshotOptions{})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(f.cfg.ContainersDir, "uncreated", "rootfs"), 0o700))
	must(t, os.WriteFile(filepath.Join(f.cfg.StateDir, "sandboxes", "torn.json"), []byte(`{"ID":`), 0o600))
	must(t, os.WriteFile(filepath.Join(f.cfg.StateDir, "sandboxes", ".p.json.123"), nil, 0o600))

	f.start()
	if got := f.leftovers(); strings.Join(got, " ") != strings.Join(keep, " ") {
		t.Errorf("after the restart %v, want %v", got, keep)
	}
	st, err := f.ContainerStatus(background, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil || st.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("status %v, %v", st, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A container that ended while nobody watched is told from its status, and one
// that the keeper lost is not told to run.
func TestEndsSeenByListing(t *testing.T) {
	f := newFixture(t)
	pod := f.runPod("p")
	a, b := f.runContainer(pod, "a", "sleep"), f.runContainer(pod, "b", "sleep")
	f.stop()
	must(t, f.keeper.Signal(background, a, syscall.SIGKILL, true))
	_, err := f.keeper.Wait(background, a)
	must(t, err)
	f.start()
	st, err := f.ContainerStatus(background, &runtimeapi.ContainerStatusRequest{ContainerId: a})
	if err != nil || st.Status.ExitCode != 137 {
		t.Errorf("a: %v, %v", st, err)
	}
	must(t, f.keeper.Remove(background, b))
	must(t, f.resync(background))
	st, err = f.ContainerStatus(background, &runtimeapi.ContainerStatusRequest{ContainerId: b})
	if err != nil || st.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.Status.Reason != reasonUnknown || st.Status.ExitCode != unknownExitCode {
		t.Errorf("b: %v, %v", st, err)
	}
}

func TestPauseThatDiesMakesThePodNotReady(t *testing.T) {
	f := newFixture(t)
	pod := f.runPod("p")
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	events := f.Subscribe(ctx)
	f.keeper.KillSandbox(pod)
	for e := range events {
		if e.ContainerId != pod {
			continue
		}
		if e.PodSandboxStatus.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("event %v", e)
		}
		break
	}
	if _, err := f.createContainer(pod, "a", "sleep"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("create in a dead sandbox: %v", err)
	}
}

func TestOOMKillIsTold(t *testing.T) {
	f := newFixture(t)
	pod := f.runPod("p")
	id := f.runContainer(pod, "a", "sleep")
	f.keeper.OOM(id)
	_, err := f.keeper.Wait(background, id)
	must(t, err)
	must(t, f.resync(background))
	st, err := f.ContainerStatus(background, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil || st.Status.Reason != reasonOOMKilled || st.Status.ExitCode != 137 {
		t.Errorf("status %v, %v", st, err)
	}
}

func TestSlowSubscriberIsCutOff(t *testing.T) {
	var b broadcaster
	slow, quick := b.subscribe(), b.subscribe()
	for i := range eventBacklog + 1 {
		b.publish(&runtimeapi.ContainerEventResponse{CreatedAt: int64(i)})
		<-quick
	}
	n := 0
	for range slow { // ends only if it was closed
		n++
	}
	if n != eventBacklog {
		t.Errorf("the slow one got %d", n)
	}
	b.unsubscribe(slow) // once more is harmless
	b.close()
	if _, ok := <-quick; ok {
		t.Error("not closed")
	}
	if _, ok := <-b.subscribe(); ok {
		t.Error("a closed broadcaster took a subscriber")
	}
}

func TestErrorsCarryTheirCodeAndPlainText(t *testing.T) {
	err := wrap(keeper.ErrNotFound, "start container %s", "x")
	if got := err.Error(); got != "start container x: not found" {
		t.Errorf("text %q", got)
	}
	if status.Code(err) != codes.NotFound || !errors.Is(err, keeper.ErrNotFound) {
		t.Errorf("code %s", status.Code(err))
	}
	if wrap(nil, "x") != nil {
		t.Error("nil is wrapped")
	}
}

func TestSignals(t *testing.T) {
	for in, want := range map[string]syscall.Signal{
		"SIGTERM": 15, "term": 15, "9": 9, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SIGCLD": syscall.SIGCHLD, "SIGIOT": syscall.SIGABRT,
	} {
		if got, err := parseSignal(in); err != nil || got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "SIGNOPE", "0", "65", "SIGRTMIN+99", "-1"} {
		if got, err := parseSignal(in); err == nil {
			t.Errorf("%q is %d", in, got)
		}
	}
	// Every value of the CRI has a signal, and comes back as itself or an alias.
	for n, name := range runtimeapi.Signal_name {
		if n == 0 {
			continue
		}
		sig, ok := criSignal(runtimeapi.Signal(n))
		if !ok {
			t.Errorf("%s has no signal", name)
		}
		c := &runtimeapi.ContainerConfig{}
		back, _ := criSignal(reported(c, name[len("SIGNAL_"):]))
		if again, err := parseSignal(strings.NewReplacer("PLUS", "+", "MINUS", "-").Replace(name[len("SIGNAL_"):])); err == nil && again != sig {
			t.Errorf("%s: %d and %d", name, sig, again)
		}
		if !strings.Contains(name, "RTM") && back != sig {
			t.Errorf("%s is reported as another signal: %d, not %d", name, back, sig)
		}
	}
	if got := reported(&runtimeapi.ContainerConfig{}, "SIGRTMIN+3"); got != runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3 {
		t.Errorf("reported %s", got)
	}
	if got := reported(&runtimeapi.ContainerConfig{}, ""); got != runtimeapi.Signal_SIGNAL_SIGTERM {
		t.Errorf("default %s", got)
	}
}

func TestResourceMerge(t *testing.T) {
	old := &runtimeapi.LinuxContainerResources{CpuShares: 2, MemoryLimitInBytes: 1, HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 1}}, Unified: map[string]string{"a": "1", "b": "1"}}
	got := merge(old, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 5, HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "1GB", Limit: 2}}, Unified: map[string]string{"b": "2"}})
	if got.CpuShares != 2 || got.MemoryLimitInBytes != 5 || len(got.HugepageLimits) != 1 || got.HugepageLimits[0].PageSize != "1GB" || got.Unified["a"] != "1" || got.Unified["b"] != "2" {
		t.Errorf("merged %v", got)
	}
	if old.MemoryLimitInBytes != 1 || old.Unified["b"] != "1" {
		t.Errorf("the old one changed: %v", old)
	}
}

func TestUsageRate(t *testing.T) {
	var u usageSample
	at := time.Unix(100, 0)
	if got := u.rate(at, 1000); got != 0 {
		t.Errorf("of one reading: %d", got)
	}
	if got := u.rate(at.Add(2*time.Second), 1000+6e9); got != 3e9 {
		t.Errorf("three cores: %d", got)
	}
	if got := u.rate(at.Add(2*time.Second+time.Millisecond), 9e18); got != 3e9 {
		t.Errorf("too soon: %d", got)
	}
	if got := u.rate(at.Add(5*time.Second), 5); got != 0 {
		t.Errorf("a counter that began anew: %d", got)
	}
}

func TestMountTable(t *testing.T) {
	table := mountTable{points: map[string]string{"/": "shared:1 ", "/slave": "master:2 ", "/private": ""}}
	for _, c := range []struct {
		path  string
		slave bool
		point string
		ok    bool
	}{
		{"/data/x", false, "/", true}, {"/slave/x", false, "/slave", false}, {"/slave", true, "/slave", true}, {"/private/a/b", true, "/private", false},
	} {
		if point, ok := table.propagates(c.path, c.slave); point != c.point || ok != c.ok {
			t.Errorf("%s: %s, %t", c.path, point, ok)
		}
	}
}

func TestFindTakesTheBeginningOfAnID(t *testing.T) {
	a, b := 1, 2
	m := map[string]*int{"abc1": &a, "abc2": &b, "ab": &a}
	for id, want := range map[string]*int{"abc1": &a, "abc": nil, "ab": &a, "abc2": &b, "": nil, "x": nil} {
		if got := find(m, id); got != want {
			t.Errorf("%q: got %v, want %v", id, got, want)
		}
	}
	full := strings.Repeat("a", idLength)
	if find(map[string]*int{full + "b": &a}, full) != nil {
		t.Error("a whole ID was taken for a beginning")
	}
}
