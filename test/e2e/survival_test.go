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

// alone is a session on a cluster of its own, for tests that kill it; settings
// are its node's configuration.
func alone(t *testing.T, settings ...string) *session {
	t.Helper()
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range settings {
		if err := os.WriteFile(filepath.Join(c.Data, "kubelet.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return onCluster(t, c)
}

// onCluster is a session on a cluster that runs for the test.
func onCluster(t *testing.T, c *cluster.Cluster) *session {
	t.Helper()
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

// What a machine's restart does to pods, `down` and `up` do too.
func TestPodsComeBackAfterDownAndUp(t *testing.T) {
	s := alone(t)
	s.apply(busybox("back", "echo began; sleep 3600", ""))
	before := s.ready("back")
	if err := s.cluster.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(s.cluster); left != "" {
		t.Errorf("down left behind:\n%s", left)
	}
	up(t, s.cluster)
	after := s.await("back", "runs again", func(p *v1.Pod) bool {
		return condition(p, v1.PodReady) == v1.ConditionTrue && p.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID
	})
	if after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("after down and up: UID %s, %d restarts; want %s, 1", after.UID, after.Status.ContainerStatuses[0].RestartCount, before.UID)
	}
	s.contains(s.kubectl("logs", "back"), "began")
}

func TestKillingTheKeeperEndsNoPod(t *testing.T) {
	s := alone(t)
	s.apply(busybox("kept", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done", ""))
	before := s.ready("kept")
	status, err := s.cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.KeeperPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("exec works again", func() bool {
		out, err := s.cluster.Kubectl(t.Context(), "exec", "kept", "--", "echo", "here")
		return err == nil && strings.Contains(out, "here")
	})
	after := s.ready("kept")
	if after.Status.ContainerStatuses[0].RestartCount != 0 || after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("restarted: %v", after.Status.ContainerStatuses[0])
	}
}

// P13: a pod whose sandbox is lost is set up anew, init containers included.
func TestP13_KillingPauseSetsThePodUpAnew(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: lost, namespace: NAMESPACE}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  initContainers: [{name: i, image: "busybox:1.28", command: ["true"]}]
  containers: [{name: c, image: "busybox:1.28", command: [sleep, "3600"]}]
`)
	before := s.ready("lost")
	s.contains(s.kubectl("exec", "lost", "-c", "c", "--", "ps"), "/pause")
	// The pause process is the parent, in the pod's PID namespace, of what was orphaned there.
	pid := pauseOf(t, s.kubectl("exec", "lost", "-c", "c", "--", "readlink", "/proc/self/ns/net"))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := s.await("lost", "runs again", func(p *v1.Pod) bool {
		return condition(p, v1.PodReady) == v1.ConditionTrue && p.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID
	})
	if after.Status.InitContainerStatuses[0].ContainerID == before.Status.InitContainerStatuses[0].ContainerID {
		t.Error("the init container did not run again")
	}
}

// pauseOf finds the pause process in a network namespace, named as readlink does.
func pauseOf(t *testing.T, namespace string) int {
	t.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, p := range paths {
		link, _ := os.Readlink(p)
		comm, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(p)), "comm"))
		if link == strings.TrimSpace(namespace) && strings.TrimSpace(string(comm)) == "pause" {
			var pid int
			_, _ = fmt.Sscan(filepath.Base(filepath.Dir(filepath.Dir(p))), &pid)
			return pid
		}
	}
	t.Fatalf("no pause process in %s", namespace)
	return 0
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
func running(text string) bool { return len(processes(text)) > 0 }

// processes are those with the text in their command line, as ps shows them.
func processes(text string) (found []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		if data, _ := os.ReadFile(p); strings.Contains(string(data), text) {
			stat, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "stat"))
			found = append(found, fmt.Sprintf("%s: %q", stat, data))
		}
	}
	return found
}
