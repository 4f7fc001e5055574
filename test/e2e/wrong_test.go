package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestA2_WrongManifests(t *testing.T) {
	t.Parallel()
	s := begin(t)
	path := filepath.Join(t.TempDir(), "pod.yaml")
	write := func(manifest string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("apiVersion: v1\nkind: Pod\nmetadate: {name: x}\nmetadata: {name: x}\nspec: {containers: [{name: c, image: busybox}]}\n")
	s.contains(s.refused("apply", "-f", path), `strict decoding error: unknown field "metadate"`)
	write("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: busybox}, {name: a, image: busybox}]}\n")
	s.contains(s.refused("apply", "-f", path), `The Pod "x" is invalid: spec.containers[1].name: Duplicate value: "a"`)
	s.contains(s.refused("run", "x", "--image=busybox", "-n", "no-such-namespace"), `namespaces "no-such-namespace" not found`)
}

func TestP4_ImagesThatCannotBeHad(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply("{apiVersion: v1, kind: Pod, metadata: {name: bad-name, namespace: NAMESPACE}, spec: {containers: [{name: c, image: 'BAD//name'}]}}")
	s.kubectl("run", "missing", "--image=busybox:no-such-tag")
	s.kubectl("run", "never", "--image=busybox:not-here", "--image-pull-policy=Never")
	s.kubectl("run", "locked", "--image="+private.Host+"/team/app:1")
	s.waiting("bad-name", "InvalidImageName")
	s.contains(s.waiting("missing", "ImagePullBackOff"), "Back-off pulling image")
	s.contains(s.waiting("never", "ErrImageNeverPull"), "not present with pull policy of Never")
	s.waiting("locked", "ImagePullBackOff")
	s.contains(s.kubectl("describe", "pod", "locked"), "Failed to pull image")

	s.kubectl("create", "secret", "docker-registry", "cred", "--docker-server="+private.Host, "--docker-username=user", "--docker-password=secret")
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: opened, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 1
  imagePullSecrets: [{name: cred}]
  containers: [{name: c, image: "%s/team/app:1", command: [sleep, "3600"]}]
`, private.Host))
	s.ready("opened")
}

func TestP9_ACommandThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.kubectl("run", "x", "--image=busybox:1.28", "--restart=Never", "--command", "--", "no-such-command")
	p := s.ended("x")
	ended := p.Status.ContainerStatuses[0].State.Terminated
	if ended.ExitCode != 128 || ended.Reason != "StartError" || !strings.Contains(ended.Message, `exec: "no-such-command": executable file not found in $PATH`) {
		t.Errorf("ended as %+v", ended)
	}
	if p.Status.Phase != v1.PodFailed {
		t.Errorf("phase %s", p.Status.Phase)
	}
}

func TestACorruptArchiveIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bad.tar")
	if err := os.WriteFile(path, []byte(strings.Repeat("not an archive ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := shared.Proa(t.Context(), "image", "import", path)
	if err == nil || !strings.Contains(out, "bad.tar") && !strings.Contains(out, "archive") {
		t.Errorf("got %v: %s", err, out)
	}
}
