package critests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testLogs(t *testing.T, s *suite) {
	p := s.pod(t)
	p.exited(p.run("app", "echo one; echo two >&2; echo three"))
	got := map[string][]string{}
	for _, e := range p.entries("app/0.log") {
		if _, err := time.Parse(time.RFC3339Nano, e.stamp); err != nil {
			t.Errorf("time stamp: %v", err)
		}
		if e.tag != "F" {
			t.Errorf("tag %q of a full line", e.tag)
		}
		got[e.stream] = append(got[e.stream], e.text)
	}
	if strings.Join(got["stdout"], " ") != "one three" || strings.Join(got["stderr"], " ") != "two" {
		t.Errorf("log %v", got)
	}
}

func testLogReopen(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", "echo first; trap 'echo second' USR1; echo ready; "+idle, func(c *runtimeapi.ContainerConfig) {
		c.StopSignal = runtimeapi.Signal_SIGNAL_SIGUSR1
	})
	p.waitReady("app")
	path := filepath.Join(p.config.LogDirectory, "app/0.log")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	must(s.rt.ReopenContainerLog(within(t), &runtimeapi.ReopenContainerLogRequest{ContainerId: id}))(t)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	p.stop(id, 1) // sends USR1, then kills
	if got := p.log("app/0.log"); !strings.Contains(got, "second") || strings.Contains(got, "first") {
		t.Errorf("new log %q", got)
	}
	if got := p.log("app/0.log.old"); !strings.Contains(got, "first") {
		t.Errorf("old log %q", got)
	}
	_, err := s.rt.ReopenContainerLog(within(t), &runtimeapi.ReopenContainerLogRequest{ContainerId: "none"})
	wantCode(t, err, codes.NotFound, "log of an absent container")
}
