package critests

import (
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// testRestart shows that the service may go and come back: what ran runs on, and
// what happened is known.
func testRestart(t *testing.T, s *suite) {
	p := s.pod(t)
	running := p.run("app", obeys)
	p.waitReady("app")
	ended := p.run("done", "exit 5")
	p.exited(ended)
	created, err := p.create(p.containerConfig("later", "exit 6"))
	if err != nil {
		t.Fatal(err)
	}
	meanwhile := p.run("meanwhile", "sleep 0.3; exit 7")
	before, beforePod := p.container(running), p.status().Status
	s.restart(t)

	after := p.container(running)
	if after.State != runtimeapi.ContainerState_CONTAINER_RUNNING || after.StartedAt != before.StartedAt || after.CreatedAt != before.CreatedAt ||
		after.ImageRef != before.ImageRef || after.Annotations["hash"] != "12345" || after.LogPath != before.LogPath {
		t.Errorf("before %v, after %v", before, after)
	}
	pod := p.status().Status
	if pod.State != runtimeapi.PodSandboxState_SANDBOX_READY || pod.Network.Ip != beforePod.Network.Ip || pod.CreatedAt != beforePod.CreatedAt {
		t.Errorf("before %v, after %v", beforePod, pod)
	}
	if st := p.container(ended); st.ExitCode != 5 || st.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("ended before: %v", st)
	}
	if st := p.exited(meanwhile); st.ExitCode != 7 {
		t.Errorf("ended meanwhile: %v", st)
	}
	if r := p.exec(running, "sh", "-c", "exit 8"); r.ExitCode != 8 {
		t.Errorf("exec: %v", r)
	}
	if err := p.start(created); err != nil {
		t.Errorf("start of what was created before: %v", err)
	} else if st := p.exited(created); st.ExitCode != 6 {
		t.Errorf("started after: %v", st)
	}
	if _, err := p.create(p.containerConfig("app", idle)); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("the name was forgotten: %v", err)
	}
	p.stop(running, 30)
	if st := p.container(running); st.ExitCode != 3 {
		t.Errorf("stopped after: %v", st)
	}
}
