package e2e

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // compares, protects nothing
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// kubectl over each of the protocols that it may speak with a stream.
var protocols = map[string][]string{
	"WebSocket": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"},
	"SPDY":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

// piped runs kubectl with some input and returns its outputs.
func (s *session) piped(env []string, stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), s.cluster.Binary, append([]string{"kubectl", "--data-dir=" + s.cluster.Data, "-n", s.namespace}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestP15_ExecAttachAndPortForward(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.kubectl("run", "web", "--image=nginx:1.14.2", "--port=80")
	s.ready("web")
	for name, env := range protocols {
		t.Run(name, func(t *testing.T) {
			s := &session{t, s.cluster, s.client, s.namespace}
			out, errs, code := s.piped(env, nil, "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9")
			if out != "out\n" || !strings.HasPrefix(errs, "err\n") || code != 9 {
				t.Errorf("exec: %q, %q, exit code %d", out, errs, code)
			}
			// The end of input must reach the command, and all of a large one before.
			random := make([]byte, 5<<20)
			for i := range random {
				random[i] = byte(rand.Uint32()) //nolint:gosec // any bytes will do
			}
			out, errs, _ = s.piped(env, bytes.NewReader(random), "exec", "-i", "web", "--", "md5sum")
			if want := fmt.Sprintf("%x", md5.Sum(random)); !strings.HasPrefix(out, want) { //nolint:gosec // see above
				t.Errorf("5 MiB arrive as %s, not %s: %s", out, want, errs)
			}
			if out, _, _ = s.piped(env, bytes.NewReader(random), "exec", "-i", "web", "--", "cat"); out != string(random) {
				t.Errorf("5 MiB come back as %d other bytes", len(out))
			}
			s.forwards(env)
		})
	}
	s.contains(s.refused("exec", "web", "--", "no-such-command"), `exec: "no-such-command": executable file not found in $PATH`)
	s.contains(s.refused("exec", "web", "-c", "other", "--", "true"), "container other is not valid for pod web")
}

// forwards has 40 clients at once, then one of a port that nobody listens on.
func (s *session) forwards(env []string) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, s.cluster.Binary, "kubectl", "--data-dir="+s.cluster.Data, "-n", s.namespace, "port-forward", "--address=127.0.0.1", "web", ":80", ":81")
	cmd.Env = append(os.Environ(), env...)
	var mu sync.Mutex
	var log bytes.Buffer
	said := func() string { mu.Lock(); defer mu.Unlock(); return log.String() }
	w := writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return log.Write(p) })
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	ports := map[string]string{}
	s.until("both ports are forwarded", func() bool {
		for _, m := range regexp.MustCompile(`127\.0\.0\.1:(\d+) -> (\d+)`).FindAllStringSubmatch(said(), -1) {
			ports[m[2]] = m[1]
		}
		return len(ports) == 2
	})
	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			resp, err := http.Get("http://127.0.0.1:" + ports["80"])
			if err != nil {
				s.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "Welcome to nginx!") {
				s.Errorf("%s, %v", body, err)
			}
		})
	}
	clients.Wait()
	if resp, err := http.Get("http://127.0.0.1:" + ports["81"]); err == nil {
		resp.Body.Close()
		s.Error("port 81 answers")
	}
	s.until("the closed port is told of", func() bool {
		return strings.Contains(said(), "error forwarding port 81 to pod") && strings.Contains(said(), "connection refused")
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestP15_ATerminal(t *testing.T) {
	t.Parallel()
	s := begin(t)
	term := s.terminal(30, 100, "run", "shell", "--image=busybox:1.28", "--restart=Never", "-it", "--rm", "--", "sh")
	term.shows("# ") // the first prompt is there, though it was printed before anybody attached
	term.types("stty size; echo $TERM\n")
	term.shows("30 100")
	term.shows("xterm")
	s.ready("shell")

	second := s.terminal(24, 80, "exec", "-it", "shell", "--", "sh")
	second.shows("# ")
	second.types("stty size\n")
	second.shows("24 80")
	second.resize(40, 120)
	second.types("until stty size | grep '40 120'; do :; done\n")
	second.shows("40 120\r\n")
	second.types("sh -c 'echo asleep; exec sleep 1000'\n")
	second.shows("asleep\r\n")
	second.types("\x03")
	second.types("echo interrupted $?\n")
	second.shows("interrupted 130")
	second.types("exit 7\n")
	if code := second.ends(); code != 7 {
		t.Errorf("exec ends with %d:\n%s", code, second.screen())
	}
	term.types("exit 3\n")
	if code := term.ends(); code != 3 {
		t.Errorf("run ends with %d:\n%s", code, term.screen())
	}
	s.gone("shell")
}

// What ends at once prints what it has to say all the same.
func TestP15_RunOfWhatEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := begin(t)
	for name, args := range map[string][]string{"attached": {"--attach"}, "interactive": {"-i"}} {
		out, errs, code := s.piped(nil, strings.NewReader(""), append(append([]string{"run", name, "--image=busybox:1.28", "--restart=Never", "--rm"}, args...), "--", "sh", "-c", "echo said; exit 4")...)
		if !strings.Contains(out, "said\n") || code != 4 {
			t.Errorf("%s: %q, %q, exit code %d", name, out, errs, code)
		}
	}
}

func TestP15_LogsOfAllKinds(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: multi, namespace: NAMESPACE, labels: {app: multi}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: "busybox:1.28", command: [echo, "init says"]}
  - {name: side, image: "busybox:1.28", restartPolicy: Always, command: [sh, -c, "echo sidecar says; sleep 3600"]}
  containers:
  - {name: a, image: "busybox:1.28", command: [sh, -c, "for i in 1 2 3; do echo a $i; done; printf 'no newline'; sleep 3600"]}
  - {name: b, image: "busybox:1.28", command: [sh, -c, "printf 'bin\\000\\377ary\\n'; exec sleep 3600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: waits, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.28", volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, configMap: {name: missing}}]
`)
	s.ready("multi")
	s.until("all was said", func() bool { return strings.Contains(s.kubectl("logs", "multi", "-c", "a"), "a 3") })
	for want, args := range map[string][]string{
		"init says\n":         {"-c", "first"},
		"sidecar says\n":      {"-c", "side"},
		"a 1\na 2\na 3\n":     {"-c", "a"},
		"a 2\na 3\n":          {"-c", "a", "--tail=2"},
		"a 1\na":              {"-c", "a", "--limit-bytes=5"},
		"bin\x00\xffary\n":    {"-c", "b"},
		"":                    {"-c", "a", "--since-time=2040-01-01T00:00:00Z"},
		"[pod/multi/a] a 3\n": {"--prefix", "-c", "a", "--tail=1"},
	} {
		out, errs, code := s.piped(nil, nil, append([]string{"logs", "multi"}, args...)...)
		if out != want || code != 0 {
			t.Errorf("logs %v: %q, want %q; %s", args, out, want, errs)
		}
	}
	// kubectl asks for all containers in any order.
	all := s.kubectl("logs", "multi", "--all-containers", "--since=1h")
	parts := []string{"init says\n", "sidecar says\n", "a 1\na 2\na 3\n", "bin\x00\xffary\n"}
	s.contains(all, parts...)
	if len(all) != len(strings.Join(parts, "")) {
		t.Errorf("all containers: %q", all)
	}
	if out := s.kubectl("logs", "-l", "app=multi", "-c", "a", "--timestamps", "--tail=1"); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z a 3\n$`).MatchString(out) {
		t.Errorf("with a time stamp: %q", out)
	}
	s.contains(s.refused("logs", "waits"), `container "c" in pod "waits" is waiting to start: ContainerCreating`)
	s.contains(s.refused("logs", "multi", "-c", "a", "--previous"), `previous terminated container "a" in pod "multi" not found`)
	s.contains(s.refused("logs", "multi", "-c", "none"), "container none is not valid for pod multi")
}

// A follower misses nothing of a fast writer whose log is moved away all the time.
func TestP15_LogsAreFollowedOverRotations(t *testing.T) {
	t.Parallel()
	s := alone(t, `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerLogMaxSize: 100Ki
containerLogMonitorInterval: 3s
`)
	s.apply(busybox("fast", "n=0; while [ $n -lt 90 ]; do n=$((n+1)); seq $((n*1000)) $((n*1000+999)); sleep 0.1; done", "  restartPolicy: Never"))
	s.await("fast", "has started", func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodRunning
	})
	lines := strings.Split(s.kubectl("logs", "-f", "fast"), "\n")
	for i := range 90_000 {
		if i >= len(lines) || lines[i] != fmt.Sprint(1000+i) {
			t.Fatalf("line %d of %d is not %d", i, len(lines), 1000+i)
		}
	}
	moved, _ := filepath.Glob(filepath.Join(s.cluster.Data, "log", "pods", "*_fast_*", "c", "0.log.*"))
	if len(moved) == 0 {
		t.Error("the log was not moved away")
	}
}

func TestP15_CopyAFolder(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("c", "sleep 3600", ""))
	s.ready("c")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "b", "file"), []byte("deep"), 0o640); err != nil {
		t.Fatal(err)
	}
	s.kubectl("cp", filepath.Join(dir, "a"), "c:/tmp/a")
	s.kubectl("cp", "c:/tmp/a", filepath.Join(dir, "back"))
	if data, err := os.ReadFile(filepath.Join(dir, "back", "b", "file")); err != nil || string(data) != "deep" {
		t.Errorf("came back as %q, %v", data, err)
	}
}
