package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/test/cluster"
)

// alone is a session on a cluster of its own, for tests that kill it.
func alone(t *testing.T) *session {
	t.Helper()
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background(), true); err != nil {
			t.Error(err)
		}
		if left := leftovers(c); left != "" {
			t.Errorf("down left behind:\n%s", left)
		}
	})
	up(t, c)
	own, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t, c, own, "default"}
	s.awaitAccount()
	return s
}

func up(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Survival: what ran goes on, what ended is known, what was deleted goes.
func TestKillingTheServerEndsNoPod(t *testing.T) {
	s := alone(t)
	s.apply(busybox("lives", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done", ""))
	s.apply(busybox("ends", "sleep 2; exit 5", "  restartPolicy: Never"))
	before := s.ready("lives")
	s.ready("ends")
	status, err := s.cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := s.kubectl("exec", "lives", "--", "sh", "-c", "cat /proc/1/stat | cut -d' ' -f22")
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("the container that ends has ended", func() bool { return !running("sleep 2; exit 5") })
	up(t, s.cluster)
	if again := s.kubectl("exec", "lives", "--", "sh", "-c", "cat /proc/1/stat | cut -d' ' -f22"); again != pid {
		t.Errorf("process 1 began at %s, before the kill at %s", again, pid)
	}
	after := s.ready("lives")
	if after.Status.ContainerStatuses[0].RestartCount != 0 || after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("restarted: %v", after.Status.ContainerStatuses[0])
	}
	if p := s.ended("ends"); p.Status.Phase != v1.PodFailed || p.Status.ContainerStatuses[0].State.Terminated.ExitCode != 5 {
		t.Errorf("the exit code is lost: %v", p.Status.ContainerStatuses)
	}
	for i, line := range strings.Split(strings.TrimSpace(s.kubectl("logs", "lives")), "\n") {
		if line != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d of the log is %q: there is a gap", i+1, line)
		}
	}
	s.kubectl("delete", "pod", "lives", "--grace-period=1")
	s.gone("lives")
}

func TestAPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.Port = l.Addr().(*net.TCPAddr).Port
	err = c.Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "already in use") || !strings.Contains(err.Error(), "--api-port") {
		t.Errorf("got %v, want the port and the remedy", err)
	}
}

func TestStatusOfTheSharedCluster(t *testing.T) {
	t.Parallel()
	s, err := shared.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !s.Ready || s.PID == 0 || s.KeeperPID == 0 || s.Node == "" || s.APIServer == "" || s.Kubeconfig == "" || s.Version == "" {
		t.Errorf("status %+v", s)
	}
}

// running tells whether a process with that text in its command line is there.
func running(text string) bool {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		if data, _ := os.ReadFile(p); strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}
