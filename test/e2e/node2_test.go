package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/test/cluster"
)

// silence is how long it may take until a node that says nothing counts as lost.
const silence = 90 * time.Second

// twoNodes is a session on a cluster of its own, with a second node on a machine
// of its own. That one can't reach the registry on loopback: it has busybox from a file.
func twoNodes(t *testing.T) (s *session, first string, second *cluster.Cluster) {
	t.Helper()
	s = alone(t)
	first = s.node()
	machine, err := cluster.NewMachine(fmt.Sprintf("proa-e2e-%d-%d", os.Getpid(), time.Now().UnixNano()%100000))
	if err != nil {
		t.Fatal(err)
	}
	if second, err = cluster.New(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	second.Machine = machine
	t.Cleanup(func() {
		ctx := context.Background()
		if t.Failed() {
			t.Log(tail(filepath.Join(second.Data, "log", "proa.log"), 40), tail(filepath.Join(s.cluster.Data, "log", "proa.log"), 20))
		}
		if err := second.Down(ctx, true); err != nil {
			t.Error(err)
		}
		if links, err := machine.Links(ctx); err != nil || strings.Contains(links, second.ID()) || strings.Contains(links, "p"+second.ID()[:5]) {
			t.Errorf("links left on the second machine: %v\n%s", err, links)
		}
		if left := leftovers(second); left != "" {
			t.Errorf("the second node left behind:\n%s", left)
		}
		if err := machine.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := second.Join(t.Context(), s.cluster, "second"); err != nil {
		t.Fatal(err)
	}
	image, err := imagetest.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.Create(filepath.Join(t.TempDir(), "busybox.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := image.WriteDockerArchive(archive, "docker.io/library/busybox:1.28"); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Proa(t.Context(), "image", "import", archive.Name()); err != nil {
		t.Fatal(err)
	}
	return s, first, second
}

// on puts a pod on a node.
func on(node, more string) string {
	return "  nodeSelector: {kubernetes.io/hostname: " + node + "}\n" + more
}

func TestC5_SecondNode(t *testing.T) {
	s, first, second := twoNodes(t)
	t.Parallel() // only from here on: clusters that start at once might settle on the same addresses
	s.contains(s.kubectl("get", "nodes"), "second", first)
	s.apply(busybox("web", "echo began; "+httpd, on("second", "")) + "---" + strings.Replace(oneWeb, "{name: NAME", "{name: web", 1))
	s.apply(busybox("near", shell, on(first, "")) + "---" + busybox("far", shell, on("second", "")))
	web := s.ready("web")
	s.ready("near")
	s.ready("far")
	service := s.service("web").Spec.ClusterIP

	// Logs, exec, cp and port-forward go by way of the API server to the node's own.
	s.contains(s.kubectl("logs", "web"), "began")
	s.contains(s.kubectl("exec", "web", "--", "hostname"), "web")
	s.contains(forwarded(s, "web", 8080), "web")
	s.contains(s.kubectl("get", "--raw", "/api/v1/nodes/second/proxy/healthz"), "ok")

	why, err := s.cluster.Proa(t.Context(), "why", "web")
	if err != nil {
		t.Fatal(err)
	}
	s.contains(why, "on node second", "Running")

	// By address, by service and by name, from both nodes and from the first machine.
	for _, to := range []string{web.Status.PodIP + ":8080", service, "web", "web." + s.namespace + ".svc.cluster.local"} {
		for _, from := range []string{"near", "far"} {
			s.until(from+" reaches "+to, func() bool {
				out, err := s.cluster.Kubectl(t.Context(), "-n", s.namespace, "exec", from, "--", "wget", "-qO-", "http://"+to)
				return err == nil && strings.TrimSpace(out) == "web"
			})
		}
	}
	s.answers("http://"+web.Status.PodIP+":8080", "web")
	s.answers("http://"+service, "web")
	// The API, from a pod there: the service has an address of the other node behind it.
	s.contains(s.kubectl("exec", "far", "--", "sh", "-c", "wget -qO- http://kubernetes.default:443 2>&1; true"), "400 Bad Request") // it wants TLS
	s.moves("far", "near", 4<<20)
	s.moves("near", "far", 4<<20)

	s.ownThings(second)

	t.Run("KillingTheAgentEndsNoPod", func(t *testing.T) { agentIsKilled(s, second) })
	t.Run("P16_PodsOfALostNode", func(t *testing.T) { nodeIsLost(s, second) })
}

// ownThings are what a node does by itself, with no more rights than it has: volumes
// on its disk, ports of its own, static pods.
func (s *session) ownThings(second *cluster.Cluster) {
	s.Helper()
	s.apply(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk, namespace: NAMESPACE}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`)
	s.apply(strings.Replace(busybox("stores", "echo kept > /disk/file; "+shell, on("second", "  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]")),
		"    image:", "    volumeMounts: [{name: disk, mountPath: /disk}]\n    ports: [{containerPort: 8080, hostPort: 38910}]\n    image:", 1))
	s.ready("stores")
	volume := s.kubectl("get", "pvc", "disk", "-o", "jsonpath={.spec.volumeName}")
	data, err := os.ReadFile(filepath.Join(second.Data, "storage", volume, "file"))
	if err != nil || string(data) != "kept\n" {
		s.Errorf("the volume on the second node's disk: %q, %v", data, err)
	}
	s.kubectl("delete", "pod/stores", "pvc/disk", "--grace-period=1")
	s.until("the volume is gone", func() bool {
		_, err := os.Stat(filepath.Join(second.Data, "storage", volume))
		return os.IsNotExist(err) && !strings.Contains(s.kubectl("get", "pv"), volume)
	})

	s.kubectl("create", "configmap", "said", "--from-literal=word=one")
	s.kubectl("create", "secret", "generic", "hidden", "--from-literal=word=two")
	s.apply(strings.Replace(busybox("reads", shell, on("second", "  volumes: [{name: v, projected: {sources: [{configMap: {name: said}}, {secret: {name: hidden, items: [{key: word, path: hidden}]}}]}}]")),
		"    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    envFrom: [{configMapRef: {name: said}}]\n    image:", 1))
	s.ready("reads")
	s.contains(s.kubectl("exec", "reads", "--", "sh", "-c", "cat /v/hidden; echo; echo env $word; ls /var/run/secrets/kubernetes.io/serviceaccount"), "two\n", "env one\n", "token")
	s.kubectl("patch", "configmap", "said", "-p", `{"data": {"word": "three"}}`)
	s.until("the change is there", func() bool { return s.kubectl("exec", "reads", "--", "cat", "/v/word") == "three" })

	s.kubectl("expose", "pod", "web", "--name=ports", "--type=NodePort", "--port=8080")
	address := s.kubectl("get", "node", "second", "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
	s.answers(fmt.Sprintf("http://%s:%d", address, s.service("ports").Spec.Ports[0].NodePort), "web")

	manifest := strings.ReplaceAll(busybox("static", shell, ""), "NAMESPACE", s.namespace)
	if err := os.WriteFile(filepath.Join(second.Manifests, "static.yaml"), []byte(manifest), 0o600); err != nil {
		s.Fatal(err)
	}
	s.until("the static pod is shown", func() bool {
		_, err := s.client.CoreV1().Pods(s.namespace).Get(s.Context(), "static-second", metav1.GetOptions{})
		return err == nil
	})
	s.ready("static-second")
}

// moves so many bytes between pods: large enough for packets of full size.
func (s *session) moves(from, to string, size int) {
	s.Helper()
	s.kubectl("exec", from, "--", "sh", "-c", fmt.Sprintf("mkdir -p /big && head -c %d /dev/zero > /big/file && httpd -h /big -p 9000", size))
	got := s.kubectl("exec", to, "--", "sh", "-c", fmt.Sprintf("wget -qO- http://%s:9000/file | wc -c", s.pod(from).Status.PodIP))
	if strings.TrimSpace(got) != fmt.Sprint(size) {
		s.Errorf("%s got %s of %d bytes from %s", to, got, size, from)
	}
}

func agentIsKilled(s *session, second *cluster.Cluster) {
	before := s.pod("web")
	status, err := second.Status(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	s.answers("http://"+before.Status.PodIP+":8080", "web") // nobody is needed for that
	if err := second.Up(s.Context()); err != nil {          // no token, no server: all is known
		s.Fatal(err)
	}
	s.contains(s.kubectl("exec", "web", "--", "hostname"), "web")
	after := s.ready("web").Status.ContainerStatuses[0]
	if was := before.Status.ContainerStatuses[0]; after.ContainerID != was.ContainerID || after.RestartCount != 0 {
		s.Errorf("restarted: %+v", after)
	}
	s.answers("http://"+s.service("web").Spec.ClusterIP, "web")
}

// A node that is lost: its pods are evicted when their tolerations run out, stay
// Terminating until the node is back, or somebody says that it won't be.
func nodeIsLost(s *session, second *cluster.Cluster) {
	soon := "  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]\n"
	s.apply(busybox("evicted", shell, on("second", soon)) + "---" + busybox("forced", shell+"; : forced", on("second", soon)))
	s.ready("evicted")
	s.ready("forced")
	status, err := second.Status(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	within(s, silence, "the pods of the silent node are evicted", func() bool {
		return s.pod("evicted").DeletionTimestamp != nil && s.pod("forced").DeletionTimestamp != nil
	})
	s.contains(s.kubectl("get", "nodes"), "NotReady")
	s.contains(s.kubectl("get", "pods"), "Terminating")
	if p := s.pod("web"); p.DeletionTimestamp != nil || condition(p, v1.PodReady) != v1.ConditionFalse {
		s.Errorf("a pod that tolerates it longer: deleted %v, Ready %s", p.DeletionTimestamp, condition(p, v1.PodReady))
	}
	time.Sleep(3 * time.Second) // longer than their grace
	s.pod("evicted")            // is still there
	s.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
	s.gone("forced")
	if _, err := s.client.CoreV1().Pods(s.namespace).Get(s.Context(), "evicted", metav1.GetOptions{}); apierrors.IsNotFound(err) {
		s.Error("a pod that nobody could end is gone")
	}
	if err := second.Up(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.gone("evicted")
	s.ready("web")
	s.until("the pod that was forced away has ended", func() bool { return !running(": forced") })
}

func within(s *session, d time.Duration, what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(d); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("after %v still not: %s", d, what)
		}
	}
}

// Who may join, and as whom.
func TestC5_JoiningRefused(t *testing.T) {
	s := alone(t)
	machine, err := cluster.NewMachine(fmt.Sprintf("proa-e2e-%d-r", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := machine.Remove(); err != nil {
			t.Error(err)
		}
	})
	second, err := cluster.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	second.Machine = machine
	t.Cleanup(func() {
		if err := second.Down(context.Background(), true); err != nil {
			t.Error(err)
		}
		if left := leftovers(second); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
	server := fmt.Sprintf("https://%s:%d", machine.Host, s.cluster.Port)
	printed, err := s.cluster.Proa(t.Context(), "token", "create", "--server", server, "--ttl", "5m")
	if err != nil {
		t.Fatal(err)
	}
	s.contains(printed, "within 5m")
	_, command, _ := strings.Cut(printed, "proa join ")
	good := strings.Fields(command) // --server S --token T --ca-hash H
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":        {nil, "proa token create"},
		"no hash":        {good[:4], "--ca-hash"},
		"another hash":   {[]string{"--server", server, "--token", good[3], "--ca-hash", "sha256:" + strings.Repeat("0", 64)}, "another cluster"},
		"a wrong token":  {[]string{"--server", server, "--token", "abcdef.0123456789abcdef", "--ca-hash", good[5]}, "does not know this token"},
		"no https":       {[]string{"--server", "http://" + machine.Host.String(), "--token", good[3], "--ca-hash", good[5]}, "want https://"},
		"a taken name":   {append([]string{"--node-name", s.node()}, good...), "kubectl delete node " + s.node()},
		"a bad name":     {append([]string{"--node-name", "No_Name"}, good...), "--node-name"},
		"nobody listens": {[]string{"--server", fmt.Sprintf("https://%s:1", machine.Host), "--token", good[3], "--ca-hash", good[5]}, "connection refused"},
	} {
		out, err := second.Proa(t.Context(), append([]string{"join"}, c.args...)...)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v, %q does not say %q", what, err, out, c.says)
		}
	}
	// None of that is in the way of who comes with what it takes.
	if err := second.Join(t.Context(), s.cluster, "second"); err != nil {
		t.Fatal(err)
	}
	if out, err := s.cluster.Proa(t.Context(), append([]string{"join"}, good...)...); err == nil || !strings.Contains(out, "already") {
		t.Errorf("a server joined: %v %s", err, out)
	}
}
