package critests

import (
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testContainerLifecycle(t *testing.T, s *suite) {
	p := s.pod(t)
	before := time.Now().UnixNano()
	config := p.containerConfig("app", idle)
	id, err := p.create(config)
	if err != nil {
		t.Fatal(err)
	}
	st := p.container(id)
	if st.State != runtimeapi.ContainerState_CONTAINER_CREATED || st.CreatedAt < before || st.StartedAt != 0 {
		t.Errorf("created: %v", st)
	}
	if st.Metadata.Name != "app" || st.Labels["container"] != "app" || st.Annotations["hash"] != "12345" || st.LogPath == "" {
		t.Errorf("what the container was made with is not what is told: %v", st)
	}
	if st.ImageId == "" || st.ImageRef == "" || st.Image.GetImage() != s.Image {
		t.Errorf("image %q, id %q, ref %q", st.Image.GetImage(), st.ImageId, st.ImageRef)
	}
	if err := p.start(id); err != nil {
		t.Fatal(err)
	}
	st = p.container(id)
	if st.State != runtimeapi.ContainerState_CONTAINER_RUNNING || st.StartedAt < st.CreatedAt {
		t.Errorf("started: %v", st)
	}
	wantCode(t, p.start(id), codes.FailedPrecondition, "a second start")
	p.stop(id, 0)
	st = p.container(id)
	if st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != 137 || st.FinishedAt < st.StartedAt {
		t.Errorf("killed: %v", st)
	}
	p.stop(id, 10) // nothing to do
	for range 2 {
		must(s.rt.RemoveContainer(within(t), &runtimeapi.RemoveContainerRequest{ContainerId: id}))(t)
	}
	_, err = s.rt.ContainerStatus(within(t), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	wantCode(t, err, codes.NotFound, "status of a removed container")
	p.stop(id, 0)
	// The name is free again.
	if _, err := p.create(config); err != nil {
		t.Error(err)
	}
}

func testContainerRefused(t *testing.T, s *suite) {
	p := s.pod(t)
	config := p.containerConfig("app", idle)
	config.Image = &runtimeapi.ImageSpec{Image: "registry.invalid/no/such:image"}
	_, err := p.create(config)
	wantCode(t, err, codes.NotFound, "an absent image")
	config = p.containerConfig("app", idle)
	if _, err := p.create(config); err != nil {
		t.Fatalf("the failed creation left something: %v", err)
	}
	if _, err = p.create(config); err == nil {
		t.Error("two containers of one name and attempt")
	}
	config.Metadata.Attempt = 1
	if _, err = p.create(config); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
	_, err = s.rt.CreateContainer(within(t), &runtimeapi.CreateContainerRequest{PodSandboxId: "none", Config: config, SandboxConfig: p.config})
	wantCode(t, err, codes.NotFound, "an absent sandbox")
	wantCode(t, p.start("none"), codes.NotFound, "start of an absent container")
	must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}))(t)
	config.Metadata.Attempt = 2
	if _, err = p.create(config); err == nil {
		t.Error("a container in a stopped sandbox")
	}
}

func testContainerFilters(t *testing.T, s *suite) {
	p := s.pod(t)
	running, created := p.run("a", idle), ""
	var err error
	if created, err = p.create(p.containerConfig("b", idle)); err != nil {
		t.Fatal(err)
	}
	state := func(st runtimeapi.ContainerState) *runtimeapi.ContainerStateValue {
		return &runtimeapi.ContainerStateValue{State: st}
	}
	for _, c := range []struct {
		what             string
		filter           *runtimeapi.ContainerFilter
		running, created bool
	}{
		{"no filter", nil, true, true},
		{"by ID", &runtimeapi.ContainerFilter{Id: running}, true, false},
		{"by sandbox", &runtimeapi.ContainerFilter{PodSandboxId: p.id}, true, true},
		{"by another sandbox", &runtimeapi.ContainerFilter{PodSandboxId: "none"}, false, false},
		{"by state", &runtimeapi.ContainerFilter{PodSandboxId: p.id, State: state(runtimeapi.ContainerState_CONTAINER_RUNNING)}, true, false},
		{"by other state", &runtimeapi.ContainerFilter{PodSandboxId: p.id, State: state(runtimeapi.ContainerState_CONTAINER_CREATED)}, false, true},
		{"by label", &runtimeapi.ContainerFilter{PodSandboxId: p.id, LabelSelector: map[string]string{"container": "b"}}, false, true},
	} {
		var ids []string
		for _, i := range must(s.rt.ListContainers(within(t), &runtimeapi.ListContainersRequest{Filter: c.filter}))(t).Containers {
			ids = append(ids, i.Id)
		}
		if contains(ids, running) != c.running || contains(ids, created) != c.created {
			t.Errorf("%s: found %v", c.what, ids)
		}
	}
}

func testExitCodes(t *testing.T, s *suite) {
	p := s.pod(t)
	for name, c := range map[string]struct {
		script string
		code   int32
		reason string
	}{
		"zero":  {"exit 0", 0, "Completed"},
		"seven": {"exit 7", 7, "Error"},
	} {
		st := p.exited(p.run(name, c.script))
		if st.ExitCode != c.code || st.Reason != c.reason || st.StartedAt == 0 || st.FinishedAt < st.StartedAt {
			t.Errorf("%s: %v", name, st)
		}
	}
}

func testStartError(t *testing.T, s *suite) {
	p := s.pod(t)
	config := p.containerConfig("app", "")
	config.Command = []string{"no-such-command"}
	id, err := p.create(config)
	if err != nil {
		t.Fatal(err)
	}
	err = p.start(id)
	const want = `exec: "no-such-command": executable file not found in $PATH`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start: %v, want %s", err, want)
	}
	st := p.container(id)
	if st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != 128 || st.Reason != "StartError" || !strings.Contains(st.Message, want) {
		t.Errorf("status %v", st)
	}
}

// obeys ends with code 3 on TERM and 4 on USR1.
const obeys = "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; " + idle

// waitReady waits until a script has set its traps.
func (p *pod) waitReady(name string) {
	p.t.Helper()
	eventually(p.t, name+" is ready", func() bool { return strings.Contains(p.log(name+"/0.log"), "ready") })
}

func testStopObeyed(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", obeys)
	p.waitReady("app")
	p.stop(id, 30)
	if st := p.container(id); st.ExitCode != 3 || st.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("status %v", st)
	}
}

func testStopIgnored(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", "trap '' TERM; echo ready; "+idle)
	p.waitReady("app")
	p.stop(id, 1)
	st := p.container(id)
	if st.ExitCode != 137 || st.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("status %v", st)
	}
	if ran := time.Duration(st.FinishedAt - st.StartedAt); ran < time.Second {
		t.Errorf("killed after %s, before its grace was over", ran)
	}
}

func testStopSignal(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", obeys, func(c *runtimeapi.ContainerConfig) { c.StopSignal = runtimeapi.Signal_SIGNAL_SIGUSR1 })
	p.waitReady("app")
	p.stop(id, 30)
	st := p.container(id)
	if st.ExitCode != 4 || st.StopSignal != runtimeapi.Signal_SIGNAL_SIGUSR1 {
		t.Errorf("status %v", st)
	}
}

func testStopAtOnce(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", obeys)
	p.waitReady("app")
	p.stop(id, 0)
	if st := p.container(id); st.ExitCode != 137 {
		t.Errorf("status %v", st)
	}
}

func testRemoveRunning(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	must(s.rt.RemoveContainer(within(t), &runtimeapi.RemoveContainerRequest{ContainerId: id}))(t)
	_, err := s.rt.ContainerStatus(within(t), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	wantCode(t, err, codes.NotFound, "status after the removal")
	// And with its pod.
	id = p.run("app", idle)
	must(s.rt.RemovePodSandbox(within(t), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id}))(t)
	_, err = s.rt.ContainerStatus(within(t), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	wantCode(t, err, codes.NotFound, "status after the removal of the pod")
}

func testSandboxStopKills(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}))(t)
	if st := p.container(id); st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != 137 {
		t.Errorf("status %v", st)
	}
}

func testParallelStarts(t *testing.T, s *suite) {
	p := s.pod(t)
	var wait sync.WaitGroup
	ids := make([]string, 6)
	for i := range ids {
		wait.Go(func() {
			id, err := p.create(p.containerConfig("app"+string(rune('a'+i)), idle))
			if err == nil {
				err = p.start(id)
			}
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != "" && p.container(id).State != runtimeapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("container %s does not run", id)
		}
	}
}
