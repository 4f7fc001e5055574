package e2e

import (
	"io"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// The first reference document's pod: one container ends, one serves, one finds
// its port taken.
func TestP2_OnePortIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: nginx, namespace: NAMESPACE}
spec:
  restartPolicy: Never
  hostAliases: [{ip: 180.101.50.188, hostnames: [abc, baidu]}]
  containers:
  - {name: nginx1, image: "nginx:1.14.2", command: [echo], args: ["$(HELLO)"], env: [{name: HELLO, value: world}]}
  - {name: nginx2, image: "nginx:1.14.2"}
  - {name: nginx3, image: "nginx:1.14.2", command: [sh, -c, "sleep 1; exec nginx -g 'daemon off;'"]}
`)
	p := s.await("nginx", "has one container left", func(p *v1.Pod) bool {
		ended := 0
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Terminated != nil {
				ended++
			}
		}
		return ended == 2
	})
	s.contains(s.kubectl("logs", "nginx", "-c", "nginx1"), "world\n")
	s.contains(s.kubectl("logs", "nginx", "-c", "nginx3"), "bind() to 0.0.0.0:80 failed (98: Address already in use)")
	s.contains(s.kubectl("get", "pod", "nginx"), "1/3", "Error")
	s.contains(s.kubectl("exec", "nginx", "-c", "nginx2", "--", "cat", "/etc/hosts"), "180.101.50.188\tabc\tbaidu")
	if p.Status.Phase != v1.PodRunning {
		t.Errorf("phase %s", p.Status.Phase)
	}
}

func TestP8_CrashLoop(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("crash", "echo here; exit 3", ""))
	message := s.waiting("crash", "CrashLoopBackOff")
	s.contains(message, "back-off 10s restarting failed container=c pod=crash_"+s.namespace)
	p := s.pod("crash")
	last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("last state %v", last)
	}
	s.contains(s.kubectl("logs", "crash", "--previous"), "here")
}

func TestP8_RestartPolicies(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("ok", "true", "  restartPolicy: OnFailure"))
	s.apply(busybox("bad", "exit 4", "  restartPolicy: Never"))
	if p := s.ended("ok"); p.Status.Phase != v1.PodSucceeded {
		t.Errorf("ok: %s", p.Status.Phase)
	}
	if p := s.ended("bad"); p.Status.Phase != v1.PodFailed || p.Status.ContainerStatuses[0].State.Terminated.ExitCode != 4 {
		t.Errorf("bad: %v", p.Status)
	}
	s.contains(s.kubectl("get", "pods"), "Completed", "Error")
}

func TestP5_OutOfMemory(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(strings.Replace(busybox("oom", "x=a; while true; do x=$x$x; done", "  restartPolicy: Never"),
		"    image:", "    resources: {limits: {memory: 16Mi}}\n    image:", 1))
	p := s.ended("oom")
	if ended := p.Status.ContainerStatuses[0].State.Terminated; ended.Reason != "OOMKilled" || ended.ExitCode != 137 {
		t.Errorf("ended as %v", ended)
	}
}

func TestP11_ProbesRestartAndUnready(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: probed, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "touch /tmp/live; sleep 3600"]
    livenessProbe: {exec: {command: [cat, /tmp/live]}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1}
`)
	s.await("probed", "has started", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Running != nil
	})
	s.kubectl("exec", "probed", "--", "touch", "/tmp/ready")
	s.ready("probed")
	s.kubectl("exec", "probed", "--", "rm", "/tmp/live")
	s.await("probed", "was restarted", func(p *v1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	s.contains(s.kubectl("describe", "pod", "probed"), "Liveness probe failed", "Container c failed liveness probe, will be restarted")
}

func TestP13_InitContainersAndSidecars(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: init, namespace: NAMESPACE}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
  - {name: first, image: "busybox:1.28", command: [sh, -c, "echo first >> /v/order"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: side, image: "busybox:1.28", restartPolicy: Always, command: [sh, -c, "echo side >> /v/order; sleep 3600"], volumeMounts: [{name: v, mountPath: /v}],
     startupProbe: {exec: {command: [grep, side, /v/order]}, periodSeconds: 1}}
  containers:
  - {name: main, image: "busybox:1.28", command: [sh, -c, "echo main >> /v/order; cat /v/order"], volumeMounts: [{name: v, mountPath: /v}]}
`)
	if p := s.ended("init"); p.Status.Phase != v1.PodSucceeded {
		t.Errorf("phase %s: the sidecar must end with the main container", p.Status.Phase)
	}
	s.contains(s.kubectl("logs", "init", "-c", "main"), "first\nside\nmain\n")
}

func TestV2_ConfigMapsAndSecretsInEnvAndVolumes(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: user, namespace: NAMESPACE, labels: {color: red}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "echo $GREETING $KEY $COLOR $IP; sleep 3600"]
    env:
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: k}}}
    - {name: COLOR, valueFrom: {fieldRef: {fieldPath: "metadata.labels['color']"}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    volumeMounts: [{name: all, mountPath: /all}]
  volumes:
  - name: all
    projected:
      sources: [{configMap: {name: settings}}, {secret: {name: keys}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]
`)
	s.until("the missing ConfigMap is named", func() bool {
		return strings.Contains(s.kubectl("describe", "pod", "user"), `configmap "settings" not found`)
	})
	s.kubectl("create", "configmap", "settings", "--from-literal=greeting=hello")
	s.kubectl("create", "secret", "generic", "keys", "--from-literal=k=s3cret")
	p := s.ready("user")
	s.contains(s.kubectl("logs", "user"), "hello s3cret red "+p.Status.PodIP)
	s.contains(s.kubectl("exec", "user", "--", "cat", "/all/labels"), `color="red"`)
	s.contains(s.kubectl("exec", "user", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace"), s.namespace)
	s.kubectl("patch", "configmap", "settings", "-p", `{"data":{"greeting":"changed"}}`)
	s.until("the mounted file changes", func() bool {
		return s.kubectl("exec", "user", "--", "cat", "/all/greeting") == "changed"
	})
}

func TestP16_GraceAndPreStop(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: polite, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: v, hostPath: {path: "` + t.TempDir() + `"}}]
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "trap 'cat /v/log; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo hook first > /v/log"]}}}
    volumeMounts: [{name: v, mountPath: /v}]
`)
	s.ready("polite")
	// Open before the deletion: the pod's end takes less time than a client's start.
	follow, err := s.client.CoreV1().Pods(s.namespace).GetLogs("polite", &v1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	s.kubectl("delete", "pod", "polite", "--wait=false")
	s.gone("polite")
	said, err := io.ReadAll(follow)
	if err != nil {
		t.Fatal(err)
	}
	s.contains(string(said), "hook first")
}

func TestP7_HostPortAndHostNetwork(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: hostport, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "nginx:1.14.2", ports: [{containerPort: 80, hostPort: 38901}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: hostnet, namespace: NAMESPACE}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.28", command: [sleep, "3600"]}]
`)
	s.ready("hostport")
	p := s.ready("hostnet")
	if p.Status.PodIP != p.Status.HostIP {
		t.Errorf("pod IP %s on host %s", p.Status.PodIP, p.Status.HostIP)
	}
	s.contains(s.kubectl("exec", "hostnet", "--", "wget", "-qO-", "http://127.0.0.1:38901/"), "Welcome to nginx!")
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: second, namespace: NAMESPACE}
spec:
  containers: [{name: c, image: "nginx:1.14.2", ports: [{containerPort: 80, hostPort: 38901}]}]
`)
	s.until("the scheduler says why not", func() bool {
		return strings.Contains(s.kubectl("describe", "pod", "second"), "1 node(s) didn't have free ports for the requested pod ports")
	})
}
