package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestV1_FoldersOfThePodAndOfTheHost(t *testing.T) {
	t.Parallel()
	s := begin(t)
	host := t.TempDir()
	for _, dir := range []string{"sub/deep", "there"} {
		if err := os.MkdirAll(filepath.Join(host, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("of the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A way out of the volume for whoever follows it.
	if err := os.Symlink("/etc", filepath.Join(host, "out")); err != nil {
		t.Fatal(err)
	}
	volumes := fmt.Sprintf(`  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: host, hostPath: {path: %[1]s, type: Directory}}
  - {name: made, hostPath: {path: %[1]s/made/for/it, type: DirectoryOrCreate}}
  - {name: touched, hostPath: {path: %[1]s/touched, type: FileOrCreate}}
  - {name: file, hostPath: {path: %[1]s/file, type: File}}
  - {name: wrong, hostPath: {path: %[1]s/file, type: Directory}}
`, host)
	with := func(name, more string, all ...probe) string {
		used := volumes
		if name != "wrong" {
			used = strings.Join(strings.Split(volumes, "\n")[:7], "\n")
		}
		return strings.Replace(probes(name, used, all...), "  containers:\n", more+"  containers:\n", 1)
	}
	mounts := func(list string) string { return ", volumeMounts: [" + list + "]" }
	s.apply(with("folders", "  initContainers: [{name: i, image: \"busybox:1.28\", command: [sh, -c, 'echo from init > /d/f; ls /'], volumeMounts: [{name: disk, mountPath: /d}]}]\n",
		probe{"disk", "", "cat /d/f; stat -c %a /d; touch /r/f 2>&1; true", mounts("{name: disk, mountPath: /d}, {name: disk, mountPath: /r, readOnly: true}")},
		probe{"memory", "", "grep ' /m ' /proc/mounts | cut -d' ' -f3; df -k /m | tail -1 | awk '{print $2}'", mounts("{name: memory, mountPath: /m}")},
		probe{"host", "", "cat /h/file /f; test -d /m && test -f /t && echo made", mounts("{name: host, mountPath: /h}, {name: made, mountPath: /m}, {name: touched, mountPath: /t}, {name: file, mountPath: /f}")},
		probe{"sub", "", "cat /one; test -d /two && touch /two/$NAME; cat /proc/mounts | grep -c ' /one '",
			mounts("{name: host, mountPath: /one, subPath: file}, {name: disk, mountPath: /two, subPathExpr: 'of-$(NAME)'}") + ", env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"},
	))
	s.apply(with("wrong", "", probe{"c", "", "true", mounts("{name: wrong, mountPath: /w}")}))
	s.apply(with("escapes", "", probe{"c", "", "ls /w", mounts("{name: host, mountPath: /w, subPath: out}")}))
	if p := s.ended("folders"); p.Status.Phase != v1.PodSucceeded {
		t.Errorf("folders: %v", p.Status)
	}
	s.says("folders", "disk", "from init\n777\ntouch: /r/f: Read-only file system")
	s.says("folders", "memory", "tmpfs\n8192")
	s.says("folders", "host", "of the host\nof the host\nmade")
	s.says("folders", "sub", "of the host\n1")
	s.until("the wrong type is told of", func() bool {
		return strings.Contains(s.kubectl("describe", "pod", "wrong"), `MountVolume.SetUp failed for volume "wrong" : hostPath type check failed: `+host+`/file is not a directory`)
	})
	s.contains(s.waiting("escapes", "CreateContainerConfigError"), `failed to prepare subPath for volumeMount "host" of container "c"`)
}

// What one container mounts below a shared folder comes to the others as said.
func TestV1_MountPropagation(t *testing.T) {
	t.Parallel()
	s := begin(t)
	dir := t.TempDir()
	for _, args := range [][]string{{"-t", "tmpfs", "none", dir}, {"--make-shared", dir}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-R", dir).Run() })
	shared := func(mode string) string {
		return ", volumeMounts: [{name: v, mountPath: /v, mountPropagation: " + mode + "}]"
	}
	watch := "until test -e /v/m/f; do sleep 0.1; done; echo came"
	s.apply(probes("propagates", "  volumes: [{name: v, hostPath: {path: "+dir+"}}]",
		probe{"gives", "", "mkdir -p /v/m && mount -t tmpfs none /v/m && touch /v/m/f; until test -e /v/done; do sleep 0.1; done; umount /v/m", shared("Bidirectional") + ", securityContext: {privileged: true}"},
		probe{"takes", "", watch, shared("HostToContainer")},
		probe{"private", "", "until test -e /v/done; do sleep 0.1; done; test -e /v/m/f && echo came; true", shared("None")},
	))
	s.until("the mount reaches the other container", func() bool {
		out, err := s.cluster.Kubectl(t.Context(), "-n", s.namespace, "logs", "propagates", "-c", "takes")
		return err == nil && out == "came\n"
	})
	if _, err := os.Stat(filepath.Join(dir, "m", "f")); err != nil {
		t.Errorf("the host does not see the mount: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "done"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ended("propagates")
	s.says("propagates", "private", "")
}

// A volume that grows beyond what it may ends its pod.
func TestV1_SizeLimits(t *testing.T) {
	t.Parallel()
	s := begin(t)
	mount := func(m string) string {
		return strings.Replace(m, "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1)
	}
	s.apply(mount(busybox("volume", "dd if=/dev/zero of=/v/f bs=1M count=8; sleep 3600", "  volumes: [{name: v, emptyDir: {sizeLimit: 4Mi}}]")))
	s.apply(strings.Replace(busybox("container", "dd if=/dev/zero of=/f bs=1M count=8; sleep 3600", ""), "    image:", "    resources: {limits: {ephemeral-storage: 4Mi}}\n    image:", 1))
	if p := s.ended("volume"); p.Status.Reason != "Evicted" || p.Status.Message != `Usage of EmptyDir volume "v" exceeds the limit "4Mi". ` {
		t.Errorf("volume: %s: %s", p.Status.Reason, p.Status.Message)
	}
	if p := s.ended("container"); p.Status.Reason != "Evicted" || p.Status.Message != `Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ` &&
		p.Status.Message != `Container c exceeded its local ephemeral storage limit "4Mi". ` {
		t.Errorf("container: %s: %s", p.Status.Reason, p.Status.Message)
	}
}

func TestV2_ConfigMapsInEveryShape(t *testing.T) {
	t.Parallel()
	s := begin(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"one": "1\n", "two": "2\n", "env": "A=1\n# no\nB=two words\n", "binary": "\x00\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.kubectl("create", "configmap", "folder", "--from-file="+dir)
	s.kubectl("create", "configmap", "file", "--from-file=renamed="+filepath.Join(dir, "one"), "--from-literal=k=v")
	s.kubectl("create", "configmap", "vars", "--from-env-file="+filepath.Join(dir, "env"))
	s.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: NAMESPACE}, data: {k: v}, immutable: true}")
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: uses, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "echo $A $B $X_A $NONE; sleep 3600"]
    envFrom: [{configMapRef: {name: vars}}, {prefix: X_, configMapRef: {name: vars}}, {configMapRef: {name: missing, optional: true}}]
    env: [{name: NONE, valueFrom: {configMapKeyRef: {name: vars, key: 'no', optional: true}}}]
    volumeMounts:
    - {name: all, mountPath: /all}
    - {name: some, mountPath: /some}
    - {name: none, mountPath: /none}
    - {name: all, mountPath: /one, subPath: one}
  volumes:
  - {name: all, configMap: {name: folder}}
  - {name: some, configMap: {name: file, defaultMode: 0400, items: [{key: renamed, path: a/b, mode: 0440}, {key: k, path: k}]}}
  - {name: none, configMap: {name: missing, optional: true}}
`)
	s.ready("uses")
	s.contains(s.kubectl("logs", "uses"), "1 two words 1\n")
	look := "cat /all/one /one /some/a/b; stat -Lc %a /all/one /some/a/b /some/k; od -An -tx1 /all/binary; ls /none | wc -l; readlink /all/one"
	if got := s.kubectl("exec", "uses", "--", "sh", "-c", look); got != "1\n1\n1\n644\n440\n400\n 00 ff\n0\n..data/one\n" {
		t.Errorf("the pod sees %q", got)
	}
	s.contains(s.refused("patch", "configmap", "fixed", "-p", `{"data":{"k":"w"}}`), "data: Forbidden: field is immutable when `immutable` is set")

	changed := time.Now()
	s.kubectl("patch", "configmap", "folder", "-p", `{"data":{"one":"new\n"}}`)
	s.until("the file has changed", func() bool { return s.kubectl("exec", "uses", "--", "cat", "/all/one") == "new\n" })
	if took := time.Since(changed); took > 10*time.Second { // the goal is 2 s, on a machine that has nothing else to do
		t.Errorf("a change took %v to come", took)
	}
	if got := s.kubectl("exec", "uses", "--", "cat", "/one"); got != "1\n" {
		t.Errorf("a subPath changed to %q", got)
	}

	s.apply(probes("missing", "", probe{"c", "", "true", ", env: [{name: K, valueFrom: {configMapKeyRef: {name: vars, key: 'no'}}}]"}))
	s.contains(s.waiting("missing", "CreateContainerConfigError"), "couldn't find key no in ConfigMap "+s.namespace+"/vars")
	s.kubectl("patch", "configmap", "vars", "-p", `{"data":{"no":"yes"}}`)
	s.ended("missing")
}

func TestV3_SecretsStayInMemory(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.kubectl("create", "secret", "generic", "keys", "--from-literal=k=s3cret")
	s.contains(s.refused("create", "secret", "generic", "bad", "--type=kubernetes.io/tls", "--from-literal=k=v"), "data[tls.crt]: Required value", "data[tls.key]: Required value")
	s.contains(s.refused("create", "secret", "generic", "bad", "--type=kubernetes.io/dockerconfigjson", "--from-literal=.dockerconfigjson={"), "data[.dockerconfigjson]: Invalid value")
	s.contains(s.refused("create", "secret", "generic", "bad", "--type=kubernetes.io/ssh-auth", "--from-literal=k=v"), "data[ssh-privatekey]: Required value")
	s.apply(strings.Replace(busybox("uses", "echo $K; sleep 3600", "  securityContext: {fsGroup: 2000, runAsUser: 1000}\n  volumes: [{name: v, secret: {secretName: keys, defaultMode: 0400}}, {name: missing, secret: {secretName: none, optional: true}}]"), "    image:",
		"    env: [{name: K, valueFrom: {secretKeyRef: {name: keys, key: k}}}]\n    volumeMounts: [{name: v, mountPath: /v}, {name: missing, mountPath: /m}]\n    image:", 1))
	s.ready("uses")
	s.contains(s.kubectl("logs", "uses"), "s3cret\n")
	if got := s.kubectl("exec", "uses", "--", "sh", "-c", "cat /v/k; echo; grep ' /v ' /proc/mounts | cut -d' ' -f3,4 | cut -d, -f1; stat -Lc '%a %g' /v/k"); got != "s3cret\ntmpfs ro\n440 2000\n" {
		t.Errorf("the pod sees %q", got)
	}
	s.kubectl("patch", "secret", "keys", "-p", `{"stringData":{"k":"changed"}}`)
	s.until("the file has changed", func() bool { return s.kubectl("exec", "uses", "--", "cat", "/v/k") == "changed" })
	s.apply(strings.Replace(busybox("waits", "sleep 3600", "  volumes: [{name: v, secret: {secretName: later}}]"), "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1))
	s.until("the missing secret is told of", func() bool {
		return strings.Contains(s.kubectl("describe", "pod", "waits"), `MountVolume.SetUp failed for volume "v" : secret "later" not found`)
	})
	s.kubectl("create", "secret", "generic", "later", "--from-literal=k=v")
	s.ready("waits")
}

func TestV4_WhatAPodMayKnowOfItself(t *testing.T) {
	t.Parallel()
	s := begin(t)
	field := func(name, path string) string {
		return fmt.Sprintf("    - {name: %s, valueFrom: {fieldRef: {fieldPath: %q}}}\n", name, path)
	}
	resource := func(name, of, divisor string) string {
		return fmt.Sprintf("    - {name: %s, valueFrom: {resourceFieldRef: {resource: %s, divisor: %q}}}\n", name, of, divisor)
	}
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: knows, namespace: NAMESPACE, labels: {color: red, app: x}, annotations: {note: 'says "hi"'}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "env | grep ^E_ | sort; sleep 3600"]
    resources: {requests: {cpu: 150m, memory: 33554432, ephemeral-storage: 1Gi}, limits: {memory: 64Mi}}
    volumeMounts: [{name: v, mountPath: /v}]
    env:
` + field("E_NAME", "metadata.name") + field("E_SPACE", "metadata.namespace") + field("E_UID", "metadata.uid") +
		field("E_LABEL", "metadata.labels['color']") + field("E_NOTE", "metadata.annotations['note']") + field("E_NODE", "spec.nodeName") +
		field("E_ACCOUNT", "spec.serviceAccountName") + field("E_IP", "status.podIP") + field("E_IPS", "status.podIPs") +
		field("E_HOST", "status.hostIP") + field("E_HOSTS", "status.hostIPs") +
		resource("E_CPU", "requests.cpu", "1m") + resource("E_CPUS", "requests.cpu", "1") + resource("E_MEMORY", "limits.memory", "1Mi") +
		resource("E_DISK", "requests.ephemeral-storage", "1Ki") + resource("E_ALL", "limits.cpu", "1") + `
  volumes:
  - name: v
    downwardAPI:
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: annotations, fieldRef: {fieldPath: metadata.annotations}}
      - {path: cpu, resourceFieldRef: {containerName: c, resource: requests.cpu, divisor: 1m}, mode: 0400}
`)
	p := s.ready("knows")
	cpus := s.kubectl("get", "node", s.node(), "-o", "jsonpath={.status.allocatable.cpu}")
	want := strings.Join([]string{
		"E_ACCOUNT=default", "E_ALL=" + cpus, "E_CPU=150", "E_CPUS=1", "E_DISK=1048576", "E_HOST=" + p.Status.HostIP, "E_HOSTS=" + joined(p.Status.HostIPs, func(ip v1.HostIP) string { return ip.IP }),
		"E_IP=" + p.Status.PodIP, "E_IPS=" + joined(p.Status.PodIPs, func(ip v1.PodIP) string { return ip.IP }), "E_LABEL=red", "E_MEMORY=64", "E_NAME=knows",
		"E_NODE=" + p.Spec.NodeName, `E_NOTE=says "hi"`, "E_SPACE=" + s.namespace, "E_UID=" + string(p.UID),
	}, "\n") + "\n"
	if got := s.kubectl("logs", "knows"); got != want {
		t.Errorf("the pod knows\n%swant\n%s", got, want)
	}
	if got := s.kubectl("exec", "knows", "--", "sh", "-c", "cat /v/labels; echo; cat /v/cpu; stat -Lc ' %a' /v/cpu; grep ^note /v/annotations"); got != "app=\"x\"\ncolor=\"red\"\n150 400\nnote=\"says \\\"hi\\\"\"\n" {
		t.Errorf("the volume has %q", got)
	}
	s.kubectl("label", "pod", "knows", "color=blue", "--overwrite")
	s.until("the file follows the label", func() bool {
		return strings.Contains(s.kubectl("exec", "knows", "--", "cat", "/v/labels"), `color="blue"`)
	})
}

func joined[T any](list []T, text func(T) string) string {
	var all []string
	for _, x := range list {
		all = append(all, text(x))
	}
	return strings.Join(all, ",")
}

// decode a part of a token.
func decode(t *testing.T, part string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestV5_TokensAndWhatIsProjected(t *testing.T) {
	t.Parallel()
	s := begin(t)
	const account = "/var/run/secrets/kubernetes.io/serviceaccount"
	s.kubectl("create", "serviceaccount", "robot")
	s.kubectl("create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount="+s.namespace+":robot")
	s.kubectl("create", "configmap", "c", "--from-literal=k=config")
	s.kubectl("create", "secret", "generic", "s", "--from-literal=k=secret")
	s.apply(strings.Replace(busybox("robot", "sleep 3600", `  serviceAccountName: robot
  volumes:
  - name: v
    projected:
      defaultMode: 0440
      sources:
      - {serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}
      - {configMap: {name: c, items: [{key: k, path: config/k}]}}
      - {secret: {name: s, items: [{key: k, path: secret/k, mode: 0400}]}}
      - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
      - {configMap: {name: none, optional: true}}`), "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1))
	s.apply(busybox("none", "ls /var/run/secrets 2>/dev/null | wc -l; sleep 3600", "  automountServiceAccountToken: false"))
	s.ready("robot")
	s.ready("none")
	look := "cat " + account + "/namespace; echo; head -1 " + account + "/ca.crt; cat /v/config/k /v/secret/k /v/name; stat -Lc ' %a' /v/config/k; stat -Lc %a /v/secret/k; cut -d. -f2 /v/token"
	out := strings.Split(strings.TrimSpace(s.kubectl("exec", "robot", "--", "sh", "-c", look)), "\n")
	if len(out) != 5 || out[0] != s.namespace || out[1] != "-----BEGIN CERTIFICATE-----" || out[2] != "configsecretrobot 440" || out[3] != "400" {
		t.Fatalf("the pod sees %q", out)
	}
	claims := decode(t, out[4])
	s.contains(claims, `"aud":["vault"]`, `"sub":"system:serviceaccount:`+s.namespace+`:robot"`, `"pod":{"name":"robot"`, `"node":{"name":"`+s.node()+`"`)
	s.says("none", "c", "0")
	for path, good := range map[string]bool{account + "/token": true, "/v/token": false} {
		config, err := s.cluster.Config()
		if err != nil {
			t.Fatal(err)
		}
		config = rest.AnonymousClientConfig(config)
		config.BearerToken = s.kubectl("exec", "robot", "--", "cat", path)
		_, err = kubernetes.NewForConfigOrDie(config).CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{})
		if good && err != nil || !good && !apierrors.IsUnauthorized(err) {
			t.Errorf("with the token in %s: %v", path, err)
		}
	}
}
