package apiserver_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// kubectl runs the stock client.
type kubectl struct {
	t      *testing.T
	config string
}

func newKubectl(t *testing.T, s *apitest.Server) kubectl {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Fatal("this test drives the stock kubectl, which is not installed")
	}
	return kubectl{t, s.Kubeconfig}
}

// run fails the test if the command does.
func (k kubectl) run(args ...string) string { k.t.Helper(); return k.stdin("", args...) }

func (k kubectl) stdin(in string, args ...string) string {
	k.t.Helper()
	out, err := k.try(in, args...)
	if err != nil {
		k.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fails returns what the command said, which must have failed.
func (k kubectl) fails(in string, args ...string) string {
	k.t.Helper()
	out, err := k.try(in, args...)
	if err == nil {
		k.t.Fatalf("kubectl %s: no error\n%s", strings.Join(args, " "), out)
	}
	return out
}

func (k kubectl) try(in string, args ...string) (string, error) {
	cmd := exec.CommandContext(k.t.Context(), "kubectl", args...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+k.config, "HOME="+k.t.TempDir())
	cmd.Stdin = strings.NewReader(in)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in:\n%s", w, got)
		}
	}
}

const podYAML = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: c, image: nginx}]
`

func TestKubectl(t *testing.T) {
	s := apitest.Start(t)
	k := newKubectl(t, s)
	k.run("create", "serviceaccount", "default")

	contains(t, k.run("version"), "Server Version: v1.37.2+proa")
	contains(t, k.run("api-resources"), "pods", "deployments", "horizontalpodautoscalers", "leases", "customresourcedefinitions")
	contains(t, k.stdin(podYAML, "apply", "-f", "-"), "pod/web created")
	contains(t, k.stdin(podYAML, "apply", "-f", "-"), "pod/web unchanged")
	contains(t, k.stdin(strings.Replace(podYAML, "nginx", "nginx:1", 1), "apply", "-f", "-"), "pod/web configured")
	contains(t, k.stdin(podYAML, "apply", "--server-side", "--force-conflicts", "-f", "-"), "pod/web serverside-applied")
	contains(t, k.run("get", "pods"), "NAME", "web")
	contains(t, k.run("get", "pods", "-o", "wide", "-l", "app=web", "--field-selector", "status.phase=Pending"), "web")
	contains(t, k.run("get", "pod", "web", "-o", "jsonpath={.spec.containers[0].image}"), "nginx")
	contains(t, k.run("explain", "pods.spec.initContainers"), "FIELD: initContainers <[]Container>")
	contains(t, k.run("describe", "pod", "web"), "Service Account:  default")
	contains(t, k.run("label", "pod", "web", "x=y"), "labeled")
	contains(t, k.run("annotate", "pod", "web", "x=y"), "annotated")
	contains(t, k.run("patch", "pod", "web", "--type=json", "-p", `[{"op":"add","path":"/metadata/labels/j","value":"1"}]`), "patched")
	contains(t, k.run("patch", "pod", "web", "--type=merge", "-p", `{"metadata":{"labels":{"m":"1"}}}`), "patched")
	contains(t, k.run("patch", "pod", "web", "-p", `{"metadata":{"labels":{"s":"1"}}}`), "patched")
	contains(t, k.run("get", "pod", "web", "--show-labels"), "app=web,j=1,m=1,s=1,x=y")
	contains(t, k.run("auth", "can-i", "delete", "pods"), "yes")
	contains(t, k.run("auth", "whoami"), "admin", "system:masters")
	contains(t, k.run("create", "token", "default"), "ey")
	contains(t, k.run("get", "--raw", "/readyz?verbose"), "readyz check passed")
	contains(t, k.run("delete", "pod", "web"), `pod "web" deleted`)
	contains(t, k.fails("", "get", "pod", "web"), `pods "web" not found`)

	wrong := strings.Replace(podYAML, "metadata:", "metadate:", 1)
	contains(t, k.fails(wrong, "create", "-f", "-", "--validate=strict"), `unknown field "metadate"`)
	contains(t, k.fails(strings.Replace(podYAML, "image: nginx", "image: nginx, nope: 1", 1), "apply", "-f", "-"),
		`strict decoding error: unknown field "spec.containers[0].nope"`)

	contains(t, k.run("create", "deployment", "d", "--image=nginx", "--replicas=2"), "deployment.apps/d created")
	contains(t, k.run("scale", "deployment", "d", "--replicas=3"), "scaled")
	contains(t, k.run("get", "deployment", "d", "-o", "jsonpath={.spec.replicas} {.metadata.generation}"), "3 2")
	contains(t, k.run("autoscale", "deployment", "d", "--max=5", "--cpu-percent=50"), "autoscaled")
	contains(t, k.run("get", "--raw", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/d"), `"targetCPUUtilizationPercentage":50`)
	contains(t, k.run("get", "all"), "deployment.apps/d")
	contains(t, k.run("create", "namespace", "n"), "namespace/n created")
	contains(t, k.run("delete", "namespace", "n", "--wait=false"), "deleted")
	contains(t, k.run("get", "namespace", "n"), "Terminating")
	contains(t, k.fails("", "create", "configmap", "c", "-n", "n"), "because it is being terminated")
	contains(t, k.fails("", "create", "configmap", "c", "-n", "nowhere"), `namespaces "nowhere" not found`)
	contains(t, k.run("create", "configmap", "c", "--from-literal=a=b", "--dry-run=server"), "created (server dry run)")
	contains(t, k.fails("", "get", "configmap", "c"), "not found")
}
