package e2e

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestP3_CommandsArgumentsAndVariables(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(strings.Replace(oneWeb, "{name: NAME", "{name: web", 1) + `---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {a: "1", with-dash: "2"}
`)
	s.until("the service has its address", func() bool {
		return s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") != ""
	})
	const all = ", env: [{name: FROM, value: pod}], envFrom: [{prefix: P_, configMapRef: {name: settings}}]"
	s.apply(strings.ReplaceAll(`
apiVersion: v1
kind: Pod
metadata: {name: says, namespace: NAMESPACE}
spec:
  restartPolicy: Never
  containers:
  - {name: plain, image: "says:1"}
  - {name: args, image: "says:1", args: [own]}
  - {name: command, image: "says:1", command: [echo, only]}
  - {name: both, image: "says:1", command: [echo, only], args: [own]}
  - name: expands
    image: "says:1"
    command: [echo, "$(A)", "$$(A)", "$(NONE)", "$(B)"]
    env: [{name: A, value: "1"}, {name: B, value: "$(A)$$(A)"}]
  - {name: folder, image: "says:1", command: [pwd]}
  - {name: own-folder, image: "says:1", command: [pwd], workingDir: /made}
  - {name: env, image: "says:1", command: [sh, -c, "echo $FROM $KEPT $P_a; tr '\\0' '\\n' < /proc/1/environ | grep P_with; echo $WEB_SERVICE_HOST:$WEB_SERVICE_PORT_HTTP $KUBERNETES_SERVICE_PORT"]ALL}
`, "ALL", all))
	s.apply(busybox("unlinked", "env | grep -c ^WEB_; echo $KUBERNETES_SERVICE_PORT", "  restartPolicy: Never\n  enableServiceLinks: false"))
	s.ended("says")
	for container, want := range map[string]string{
		"plain": "entrypoint cmd", "args": "entrypoint own", "command": "only", "both": "only own",
		"expands": "1 $(A) $(NONE) 1$(A)", "folder": "/home", "own-folder": "/made",
		"env": "pod image 1\nP_with-dash=2\n" + s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + ":80 443",
	} {
		s.says("says", container, want)
	}
	s.ended("unlinked")
	s.says("unlinked", "c", "0\n443")
}

func TestP4_PullPoliciesAndDigests(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.kubectl("run", "first", "--image=says:1")
	first := s.await("first", "has run", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].ImageID != ""
	})
	id := first.Status.ContainerStatuses[0].ImageID
	_, digest, ok := strings.Cut(id, "@")
	if !ok || !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("the image's ID is %q", id)
	}
	s.kubectl("run", "pinned", "--image=says@"+digest, "--restart=Never")
	s.kubectl("run", "asks", "--image=says:1", "--restart=Never", "--image-pull-policy=Always")
	s.kubectl("run", "never", "--image=says:1", "--restart=Never", "--image-pull-policy=Never")
	for _, name := range []string{"pinned", "asks", "never"} {
		if got := s.ended(name).Status.ContainerStatuses[0].ImageID; got != id {
			t.Errorf("%s ran %s, not %s", name, got, id)
		}
		s.says(name, name, "entrypoint cmd")
	}
	s.contains(s.kubectl("describe", "pod", "never"), `Container image "says:1" already present on machine`)
	s.contains(s.kubectl("describe", "pod", "asks"), `Pulling image "says:1"`, `Successfully pulled image "says:1"`)
}

// A program that puts itself in the background ends its container, for ever. The
// reader must see that it did so without an error, and what is done about it.
func TestP20_AProgramThatGoesToTheBackground(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: ReplicationController
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 1
  selector: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "nginx:1.14.2", command: [nginx]}]
`)
	var name string
	s.until("the controller made a pod", func() bool {
		name = s.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}")
		return name != ""
	})
	s.contains(s.waiting(name, "CrashLoopBackOff"), "back-off 10s restarting failed container=c pod="+name)
	last := s.pod(name).Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 0 || last.Reason != "Completed" {
		t.Errorf("last state %v", last)
	}
	s.contains(s.kubectl("describe", "pod", name), "Back-off restarting failed container c in pod "+name, "Exit Code:    0")
	out, err := s.cluster.Proa(t.Context(), "why", name, "-n", s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	s.contains(out, "exit code 0", "restartPolicy Always", "back-off")
	if out, err = s.cluster.Proa(t.Context(), "timeline", name, "-n", s.namespace); err != nil {
		t.Fatal(err)
	}
	s.contains(out, "runs #0", "runs #1", "waits: CrashLoopBackOff")
	s.kubectl("delete", "pod", name)
	if out, err = s.cluster.Proa(t.Context(), "why", name, "-n", s.namespace); err != nil {
		t.Fatal(err)
	}
	s.contains(out, "is gone since", "asked for: Deleted")
	s.until("the controller made another", func() bool {
		next := s.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}")
		return next != "" && !strings.Contains(next, name)
	})
}
