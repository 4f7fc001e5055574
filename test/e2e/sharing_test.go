package e2e

import (
	"regexp"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// Orphans of all containers become pause's children; a thousand of them must not
// stay behind as zombies.
func TestP1_PauseReapsAThousandZombies(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: shared, namespace: NAMESPACE}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: maker, image: "busybox:1.28", command: [sh, -c, "i=0; while [ $i -lt 1000 ]; do (true & exec true) & i=$((i+1)); done; wait; echo made; sleep 1000"]}
  - {name: looker, image: "busybox:1.28", command: [sleep, "1000"]}
`)
	s.ready("shared")
	s.until("all are made", func() bool { return strings.Contains(s.kubectl("logs", "shared", "-c", "maker"), "made") })
	if got := strings.TrimSpace(s.kubectl("exec", "shared", "-c", "looker", "--", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm")); got != "/pause pause" {
		t.Errorf("PID 1 is %q", got)
	}
	s.until("no zombie is left", func() bool {
		return strings.TrimSpace(s.kubectl("exec", "shared", "-c", "looker", "--", "sh", "-c", "grep -sl 'State:.Z' /proc/[0-9]*/status | wc -l")) == "0"
	})
	if ps := s.kubectl("exec", "shared", "-c", "looker", "--", "ps"); !regexp.MustCompile(`(?m)^ +1 65535 +.*/pause$`).MatchString(ps) || !strings.Contains(ps, "sleep 1000") {
		t.Errorf("ps shows\n%s", ps)
	}
	s.contains(s.kubectl("exec", "shared", "-c", "looker", "--", "sh", "-c", "ls -l /proc/1/root/ 2>&1; true"), "Permission denied")
}

func TestP1_NamespacesAreSharedAsSaid(t *testing.T) {
	t.Parallel()
	s := begin(t)
	namespaces := "for n in net ipc uts pid mnt user; do readlink /proc/self/ns/$n; done; sleep 1000"
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "busybox:1.28", command: [sh, -c, "` + namespaces + `"]}
  - {name: b, image: "busybox:1.28", command: [sh, -c, "` + namespaces + `"]}
`)
	s.ready("two")
	a, b := strings.Fields(s.kubectl("logs", "two", "-c", "a")), strings.Fields(s.kubectl("logs", "two", "-c", "b"))
	if len(a) != 6 || len(b) != 6 {
		t.Fatalf("%q, %q", a, b)
	}
	for i, shared := range []bool{true, true, true, false, false, true} {
		if (a[i] == b[i]) != shared {
			t.Errorf("%s and %s: shared is %t", a[i], b[i], a[i] == b[i])
		}
	}
	if first := s.kubectl("exec", "two", "-c", "b", "--", "cat", "/proc/1/comm"); strings.Contains(first, "pause") {
		t.Errorf("the container's first process is %s", first)
	}
}

func TestP2_SharedMemory(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: shm, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "tools:1", command: [sh, -c, "echo hello > /dev/shm/posix; ipcmk -M 4096; ipcmk -Q; sleep 1000"]}
  - {name: b, image: "tools:1", command: [sleep, "1000"]}
`)
	s.ready("shm")
	var out string
	s.until("b sees what a has made", func() bool {
		out = s.kubectl("exec", "shm", "-c", "b", "--", "sh", "-c", "cat /dev/shm/posix 2>/dev/null; ipcs -m -q; df -k /dev/shm | tail -1")
		return strings.Count(out, "0x") == 2
	})
	s.contains(out, "hello", "4096")
	if !regexp.MustCompile(`shm +65536 `).MatchString(out) {
		t.Errorf("/dev/shm is not of 64 MiB:\n%s", out)
	}
}

func TestP5_LimitsSeenFromInside(t *testing.T) {
	t.Parallel()
	s := begin(t)
	look := "cat /proc/self/oom_score_adj; if [ -d /sys/fs/cgroup/memory ]; then cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares; else cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight; fi"
	s.apply(probes("guaranteed", "", probe{"c", "", look, ", resources: {limits: {cpu: 250m, memory: 64Mi}}"}))
	s.apply(probes("burstable", "", probe{"c", "", look, ", resources: {requests: {cpu: 500m, memory: 64Mi}, limits: {memory: 128Mi}}"}))
	s.apply(probes("besteffort", "", probe{"c", "", look, ""}))
	class := map[string]v1.PodQOSClass{"guaranteed": v1.PodQOSGuaranteed, "burstable": v1.PodQOSBurstable, "besteffort": v1.PodQOSBestEffort}
	found := map[string][]string{}
	for pod, want := range class {
		if got := s.ended(pod).Status.QOSClass; got != want {
			t.Errorf("%s is %s", pod, got)
		}
		found[pod] = strings.Fields(s.kubectl("logs", pod))
		if len(found[pod]) < 4 {
			t.Fatalf("%s sees %q", pod, found[pod])
		}
	}
	// The first is the worst to lose; without the privilege for a negative score it
	// is as low as the node may set it.
	if g := found["guaranteed"]; g[0] != "-997" && g[0] != "0" || g[1] != "67108864" || g[2] != "25000" {
		t.Errorf("guaranteed sees %q", g)
	}
	if b := found["burstable"]; b[1] != "134217728" || b[3] != "512" && len(b) == 4 {
		t.Errorf("burstable sees %q", b)
	}
	if b := found["besteffort"]; b[0] != "1000" {
		t.Errorf("besteffort sees %q", b)
	}
}

func TestP5_AChildOutOfMemory(t *testing.T) {
	t.Parallel()
	s := begin(t)
	limit := ", resources: {limits: {memory: 24Mi}}"
	s.apply(probes("oom", "",
		probe{"child", "", "sh -c 'x=a; while true; do x=$x$x; done'; echo the child ended with $?; exit 137", limit},
		probe{"neighbour", "", "echo fine", ""}))
	p := s.ended("oom")
	for _, c := range p.Status.ContainerStatuses {
		end := c.State.Terminated
		switch c.Name {
		case "child":
			if end.Reason != "OOMKilled" || end.ExitCode != 137 {
				t.Errorf("child: %v", end)
			}
		case "neighbour":
			if end.Reason != "Completed" {
				t.Errorf("neighbour: %v", end)
			}
		}
	}
}

func TestP12_StopSignals(t *testing.T) {
	t.Parallel()
	s := begin(t)
	script := "trap 'echo USR1 > /dev/termination-log; exit 0' USR1; trap 'echo TERM > /dev/termination-log; exit 0' TERM; touch /tmp/ready; while :; do sleep 0.2; done"
	for name, lifecycle := range map[string]string{"of-the-image": "", "of-the-pod": ", lifecycle: {stopSignal: SIGTERM}"} {
		s.apply(probes(name, "  os: {name: linux}", probe{"c", "tools:1", script, lifecycle + ", readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}"}))
	}
	for name, want := range map[string]string{"of-the-image": "USR1", "of-the-pod": "TERM"} {
		s.ready(name)
		s.kubectl("patch", "pod", name, "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/wait"]}}`)
		s.kubectl("delete", "pod", name, "--wait=false")
		p := s.ended(name)
		if got := strings.TrimSpace(p.Status.ContainerStatuses[0].State.Terminated.Message); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		s.kubectl("patch", "pod", name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
}
