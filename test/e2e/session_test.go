package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A user's first session: P1, P3, P10, P15, P16.
func TestP15_ASessionWithKubectl(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.kubectl("run", "bb", "--image=busybox:1.28", "--", "sh", "-c", "echo one; echo two; sleep 3600")
	s.kubectl("run", "web", "--image=nginx:1.14.2", "--port=80")
	s.ready("bb")
	s.ready("web")

	s.contains(s.kubectl("get", "pods"), "NAME", "READY", "STATUS", "RESTARTS", "AGE", "bb     1/1     Running   0")
	s.contains(s.kubectl("describe", "pod", "web"), "Successfully assigned", "Pulled", "Created", "Started")
	s.contains(s.kubectl("logs", "bb"), "one\ntwo\n")
	s.contains(s.kubectl("logs", "bb", "--tail=1", "--timestamps"), "Z two\n")

	if out := s.kubectl("exec", "bb", "--", "hostname"); out != "bb\n" {
		t.Errorf("hostname %q", out)
	}
	if _, err := s.cluster.Kubectl(t.Context(), "-n", s.namespace, "exec", "bb", "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Errorf("exit code 7 comes as %v", err)
	}
	local := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(local, []byte("there and back"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.kubectl("cp", local, "bb:/tmp/file")
	s.kubectl("cp", "bb:/tmp/file", local+".back")
	if data, err := os.ReadFile(local + ".back"); err != nil || string(data) != "there and back" {
		t.Errorf("copied back %q, %v", data, err)
	}
	s.contains(forwarded(s, "web", 80), "Welcome to nginx!")

	s.kubectl("delete", "pod", "bb", "web", "--grace-period=1")
	s.gone("bb")
	s.gone("web")
}

// forwarded fetches / of the pod through kubectl port-forward.
func forwarded(s *session, pod string, port int) string {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, s.cluster.Binary, "kubectl", "--data-dir="+s.cluster.Data, "-n", s.namespace, "port-forward", pod, fmt.Sprintf(":%d", port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	buf := make([]byte, 256)
	n, _ := out.Read(buf)
	m := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindSubmatch(buf[:n])
	if m == nil {
		s.Fatalf("port-forward says %q", buf[:n])
	}
	resp, err := http.Get("http://127.0.0.1:" + string(m[1]))
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(body)
}

func TestA1_KubectlGetsAndExplains(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.contains(s.kubectl("get", "nodes"), "Ready", "v1.37")
	s.contains(s.kubectl("explain", "pods.spec.initContainers"), "FIELD: initContainers", "<[]Container>")
	s.contains(s.kubectl("api-resources"), "deployments", "apps/v1")
	s.contains(s.kubectl("auth", "can-i", "create", "pods"), "yes")
	s.kubectl("create", "configmap", "m", "--from-literal=k=v")
	s.contains(s.kubectl("get", "configmap", "m", "-o", "jsonpath={.data.k}"), "v")
	s.kubectl("label", "configmap", "m", "a=b")
	s.contains(s.kubectl("get", "configmaps", "-l", "a=b"), "m ")
}
