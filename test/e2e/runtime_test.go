package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/test/cluster"
)

// startRuntime runs a container runtime alone, as another runtime would be found on
// the machine, and returns where it listens. It has the quickstart image.
func startRuntime(t *testing.T) (runtime *cluster.Cluster, endpoint string) {
	t.Helper()
	runtime, err := cluster.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Down(context.Background(), true); err != nil {
			t.Error(err)
		}
		if left := leftovers(runtime); left != "" {
			t.Errorf("the runtime left behind:\n%s", left)
		}
	})
	cmd := exec.Command(runtime.Binary, "runtime", "--data-dir", runtime.Data)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before it is taken down
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	buf := make([]byte, 256)
	n, _ := out.Read(buf)
	if endpoint = strings.TrimSpace(string(buf[:n])); !strings.HasPrefix(endpoint, "unix:///") {
		t.Fatalf("the runtime says %q", endpoint)
	}
	if _, err := runtime.Proa(t.Context(), "image", "import", filepath.Join(filepath.Dir(runtime.Binary), "quickstart.tar")); err != nil {
		t.Fatal(err)
	}
	return runtime, endpoint
}

// The node agent on a runtime behind a socket: a pod's life, a kill of the agent,
// and an end that leaves nothing in a runtime that goes on.
func TestC6_RuntimeOutside(t *testing.T) {
	runtime, endpoint := startRuntime(t)
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	usual := c.Args
	c.Args = append(usual[:len(usual):len(usual)], "--container-runtime-endpoint", strings.TrimPrefix(endpoint, "unix://"))
	s := onCluster(t, c)
	const image = "proa.dev/quickstart:latest"
	s.kubectl("run", "web", "--image="+image, "--image-pull-policy=Never", "--port=8080")
	before := s.ready("web")
	s.contains(s.kubectl("logs", "web"), "listening on :8080")
	s.contains(s.kubectl("exec", "web", "--", "/quickstart", "-h"), "healthz")
	s.contains(forwarded(s, "web", 8080), "web")

	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.CRISocket != endpoint || status.KeeperPID != 0 {
		t.Errorf("status %+v", status)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Args = usual // the folder knows which runtime has its pods
	up(t, c)
	after := s.ready("web").Status.ContainerStatuses[0]
	if was := before.Status.ContainerStatuses[0]; after.ContainerID != was.ContainerID || after.RestartCount != 0 {
		t.Errorf("restarted: %+v", after)
	}
	s.kubectl("run", "short", "--image="+image, "--image-pull-policy=Never")
	s.ready("short")
	s.kubectl("delete", "pod", "short", "--grace-period=1")
	s.gone("short")

	if err := c.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	l, err := layout.For(runtime.Data)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+l.CRI(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	left, err := runtimeapi.NewRuntimeServiceClient(conn).ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("the runtime still has %v, %v", left, err)
	}
}
