package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

// slowly stands before a registry and holds back the layers of one image at a time.
type slowly struct {
	mu   sync.Mutex
	gate chan struct{} // closed: nothing is held back
	held chan struct{} // gets a token for every request that is
}

func (g *slowly) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate, g.held = make(chan struct{}), make(chan struct{}, 100)
}

func (g *slowly) open() { close(g.gate) }

func (g *slowly) serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		gate, held := g.gate, g.held
		g.mu.Unlock()
		if gate != nil && strings.Contains(r.URL.Path, "/slow-") {
			held <- struct{}{}
			select {
			case <-gate:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// TestKillsInEveryPhase has a pod in each phase of its life at the moment of a kill
// of the server, of the keeper, and of both: no instance of a container runs twice,
// none stays behind, no exit code is lost, and every pod goes on as if nothing had
// been.
func TestKillsInEveryPhase(t *testing.T) {
	t.Parallel()
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + registry.Host)
	if err != nil {
		t.Fatal(err)
	}
	gate := &slowly{}
	mirror := newServer(t, gate.serve(httputil.NewSingleHostReverseProxy(target)))
	config := fmt.Sprintf("registries:\n  docker.io:\n    mirrors: [%q]\n    mirrorOnly: true\n", mirror)
	if err := os.WriteFile(filepath.Join(c.Data, "registries.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := onCluster(t, c)
	for _, victim := range []string{"server", "keeper", "both"} {
		k := &killing{session: s, gate: gate, dir: t.TempDir(), image: "slow-" + victim + ":1"}
		if _, err := registry.Upload("library/"+k.image, k.own()); err != nil {
			t.Fatal(err)
		}
		k.prepare()
		k.kill(victim)
		k.goesOn()
		k.nothingLeft()
	}
}

// killing is one kill with a pod in each phase.
type killing struct {
	*session
	gate       *slowly
	dir, image string
	before     map[string]*v1.Pod
}

// begins is how every container begins: with a line in a file of its own.
const begins = "echo begins >> /v/$NAME; "

func (k *killing) manifest(name, script, more string) string {
	m := probes(name, "  terminationGracePeriodSeconds: 30\n  volumes: [{name: v, hostPath: {path: "+k.dir+"}}]"+more,
		probe{"c", "", begins + ": " + k.dir + "; " + script, ", env: [{name: NAME, value: " + name + "}], volumeMounts: [{name: v, mountPath: /v}]"})
	return m + "---\n"
}

func (k *killing) prepare() {
	k.Helper()
	k.gate.close()
	init := fmt.Sprintf("\n  initContainers: [{name: i, image: \"busybox:1.28\", command: [sh, -c, %q], volumeMounts: [{name: v, mountPath: /v}]}]",
		"echo begins >> /v/init; until test -e /v/go; do sleep 0.1; done")
	polite := "trap 'echo ends >> /v/ending; until test -e /v/go; do sleep 0.1; done; exit 9' TERM; while :; do sleep 0.1; done"
	k.apply(k.manifest("runs", "sleep 3600", "") + k.manifest("exits", "until test -e /v/exit; do sleep 0.1; done; exit 5", "") +
		k.manifest("inits", "sleep 3600", init) + k.manifest("ending", polite, "") +
		strings.Replace(k.manifest("pulls", "sleep 3600", ""), "busybox:1.28", k.image, 1) +
		strings.Replace(k.manifest("resized", "sleep 3600", ""), "image:", "resources: {requests: {cpu: 10m}, limits: {cpu: 100m, memory: 32Mi}}, image:", 1))
	k.before = map[string]*v1.Pod{}
	for _, name := range []string{"runs", "exits", "ending", "resized"} {
		k.before[name] = k.ready(name)
	}
	<-k.gate.held
	k.until("the init container runs", func() bool { return read(k.dir, "init") != "" })
	// Held, so that the exit code can be read once it has ended.
	k.kubectl("patch", "pod", "ending", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/wait"]}}`)
	k.kubectl("delete", "pod", "ending", "--wait=false")
	k.until("the pod that ends got its signal", func() bool { return strings.Contains(read(k.dir, "ending"), "ends") })
	k.kubectl(resize("resized", `c {"limits":{"cpu":"150m","memory":"48Mi"}}`)...)
}

func (k *killing) kill(victim string) {
	k.Helper()
	status, err := k.cluster.Status(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	kill := func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			k.Fatal(err)
		}
	}
	if victim != "keeper" {
		kill(status.PID)
	}
	if victim != "server" {
		kill(status.KeeperPID)
	}
	for _, name := range []string{"exit", "go"} {
		if err := os.WriteFile(filepath.Join(k.dir, name), nil, 0o600); err != nil {
			k.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // one container ends while nobody looks, others a moment later
	}
	k.gate.open()
	if victim != "keeper" {
		up(k.T, k.cluster)
	}
}

func (k *killing) goesOn() {
	k.Helper()
	for _, name := range []string{"runs", "pulls", "inits", "resized"} {
		p := k.ready(name)
		if st := p.Status.ContainerStatuses[0]; st.RestartCount != 0 || k.before[name] != nil && st.ContainerID != k.before[name].Status.ContainerStatuses[0].ContainerID {
			k.Errorf("%s was restarted: %v", name, st)
		}
	}
	for name, code := range map[string]int32{"exits": 5, "ending": 9} {
		if e := k.ended(name).Status.ContainerStatuses[0].State.Terminated; e.ExitCode != code {
			k.Errorf("%s ended as %v, want exit code %d", name, e, code)
		}
	}
	for _, name := range []string{"runs", "exits", "inits", "pulls", "resized", "init", "ending"} {
		k.until(name+" has begun", func() bool { return read(k.dir, name) != "" }) // a moment after it runs
		if got := strings.Count(read(k.dir, name), "begins"); got != 1 {
			k.Errorf("%s began %d times", name, got)
		}
	}
	k.await("resized", "has its new size", func(p *v1.Pod) bool {
		r := p.Status.ContainerStatuses[0].Resources
		return r != nil && r.Limits.Cpu().MilliValue() == 150 && findCondition(p, v1.PodResizeInProgress).Type == ""
	})
	if got := k.limits("resized", "c"); got != "50331648 15000" {
		k.Errorf("resized has %q", got)
	}
}

func (k *killing) nothingLeft() {
	k.Helper()
	k.kubectl("patch", "pod", "ending", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	k.kubectl("delete", "pods", "--all", "--grace-period=1")
	if left := processes(begins + ": " + k.dir); len(left) > 0 {
		k.Errorf("processes of the pods are left:\n%s", strings.Join(left, "\n"))
	}
	k.until("no cgroup of a pod is left", func() bool {
		guaranteed, _ := filepath.Glob("/sys/fs/cgroup/*/proa-" + k.cluster.ID() + "/*/pod*")
		others, _ := filepath.Glob("/sys/fs/cgroup/*/proa-" + k.cluster.ID() + "/*/*/pod*")
		return len(guaranteed)+len(others) == 0
	})
}

// own is busybox under another name, with a layer that no other image has.
func (k *killing) own() *imagetest.Built {
	k.Helper()
	base, err := imagetest.BusyboxLayer()
	if err != nil {
		k.Fatal(err)
	}
	b, err := imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{base, {{Path: "etc/name", Body: []byte(k.image)}}}})
	if err != nil {
		k.Fatal(err)
	}
	return b
}

// newServer serves until the test ends, also while requests hang.
func newServer(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// process finds the one whose command line begins with these words.
func process(s *session, words ...string) (pid int) {
	s.Helper()
	s.until(strings.Join(words, " ")+" runs", func() bool {
		paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, p := range paths {
			if data, _ := os.ReadFile(p); strings.HasPrefix(string(data), strings.Join(words, "\x00")) {
				pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(p)))
				return true
			}
		}
		return false
	})
	return pid
}

// Processes of pods are killed by the host, pause among them, at the start, in the
// midst and at the end of their pods' lives.
func TestKilledProcessesOfPods(t *testing.T) {
	t.Parallel()
	s := begin(t)
	n := 0
	sleep := func() string { // a process that can be told by its number
		n++
		return fmt.Sprintf("    image: busybox:1.28\n    command: [sleep, \"9000%02d\"]\n", n)
	}
	pod := func(name, init, more string) string {
		out := "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: NAMESPACE}\nspec:\n" + more
		if init != "" {
			out += "  initContainers:\n  - name: i\n" + init
		}
		return out + "  containers:\n  - name: c\n" + sleep()
	}
	const short, long = "  terminationGracePeriodSeconds: 1\n", "  terminationGracePeriodSeconds: 600\n"
	hook := "    lifecycle: {postStart: {exec: {command: [sleep, \"600\"]}}}\n"
	s.apply(pod("runs", "", long) + // 1
		pod("inits", sleep(), long) + // 2, 3
		pod("hooks", "", long) + hook + // 4
		pod("ends", "", long) + // 5
		pod("pause-inits", sleep(), short) + // 6, 7
		pod("pause-never", "", short+"  restartPolicy: Never\n") + // 8
		pod("pause-ends", "", "  terminationGracePeriodSeconds: 5\n")) // 9
	killed := func(number string, pause bool) {
		t.Helper()
		pid := process(s, "sleep", "9000"+number)
		if pause {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
			if err != nil {
				t.Fatal(err)
			}
			pid = pauseOf(t, link)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	restarted := func(name string, code int32, list func(*v1.Pod) []v1.ContainerStatus) {
		t.Helper()
		s.await(name, "was restarted", func(p *v1.Pod) bool {
			all := list(p)
			if len(all) != 1 || all[0].RestartCount != 1 {
				return false
			}
			last := all[0].LastTerminationState.Terminated
			return last != nil && last.ExitCode == code
		})
	}
	mains := func(p *v1.Pod) []v1.ContainerStatus { return p.Status.ContainerStatuses }
	inits := func(p *v1.Pod) []v1.ContainerStatus { return p.Status.InitContainerStatuses }
	for _, name := range []string{"runs", "ends", "pause-never", "pause-ends"} {
		s.ready(name)
	}
	s.kubectl("delete", "pod", "ends", "pause-ends", "--wait=false")
	for _, number := range []string{"01", "02", "04", "05"} {
		killed(number, false)
	}
	for _, number := range []string{"06", "08", "09"} {
		killed(number, true)
	}
	restarted("runs", 137, mains)
	restarted("inits", 137, inits)
	restarted("hooks", 137, mains)
	restarted("pause-inits", 137, inits)
	if p := s.ended("pause-never"); p.Status.Phase != v1.PodFailed || mains(p)[0].State.Terminated.ExitCode != 137 {
		t.Errorf("pause-never: %v", p.Status)
	}
	s.gone("ends")
	s.gone("pause-ends")
	s.kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
	s.until("no process is left", func() bool { return !running("sleep\x009000") })
}
