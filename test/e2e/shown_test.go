package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// What the stock printer makes of every station of a pod's life.
func TestP10_TheColumnsOfKubectl(t *testing.T) {
	t.Parallel()
	s := begin(t)
	init := func(name, script, policy string) string {
		return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: NAMESPACE}
spec:
  restartPolicy: %s
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: i, image: "busybox:1.28", command: [sh, -c, %q]}
  - {name: j, image: "busybox:1.28", command: ["true"]}
  containers: [{name: c, image: "busybox:1.28", command: [sleep, "3600"]}]
`, name, policy, script)
	}
	s.apply(init("init-waits", "sleep 3600", "Always") + init("init-fails", "exit 2", "Never") + init("init-crashes", "exit 2", "Always"))
	s.apply(probes("not-ready", "", probe{"ends", "", "true", ""}, probe{"stays", "", "sleep 3600", ""}) +
		"---\n" + probes("one-failed", "", probe{"ends", "", "exit 1", ""}, probe{"stays", "", "sleep 3600", ""}) +
		"---\n" + probes("completed", "", probe{"c", "", "true", ""}) +
		"---\n" + probes("failed", "", probe{"c", "", "exit 1", ""}) +
		"---\n" + probes("killed", "", probe{"c", "", "kill -9 $$", ""}) +
		"---\n" + probes("oom", "", probe{"c", "", "x=a; while true; do x=$x$x; done", ", resources: {limits: {memory: 16Mi}}"}))
	s.apply(busybox("crashes", "exit 1", "") +
		"---" + strings.Replace(busybox("terminating", "trap '' TERM; while :; do sleep 0.2; done", ""), "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 600", 1) +
		"---" + busybox("gated", "sleep 3600", "  readinessGates: [{conditionType: example.com/gate}]") +
		"---" + strings.Replace(busybox("no-config", "sleep 3600", "  volumes: [{name: v, configMap: {name: none}}]"), "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1) +
		"---" + busybox("unschedulable", "sleep 3600", "  nodeSelector: {no: such}"))
	s.await("terminating", "runs", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodRunning })
	s.kubectl("delete", "pod", "terminating", "--wait=false")
	want := map[string]string{
		"init-waits": `0/1 +Init:0/2 +0 `, "init-fails": `0/1 +Init:Error +0 `, "init-crashes": `0/1 +Init:CrashLoopBackOff +1 \(\d+s ago\) `,
		"not-ready": `1/2 +NotReady +0 `, "one-failed": `1/2 +Error +0 `, "completed": `0/1 +Completed +0 `, "failed": `0/1 +Error +0 `,
		"killed": `0/1 +Error +0 `, "oom": `0/1 +OOMKilled +0 `, "crashes": `0/1 +CrashLoopBackOff +[12] \(\d+s ago\) `,
		"terminating": `1/1 +Terminating +0 `, "gated": `1/1 +Running +0 `, "no-config": `0/1 +ContainerCreating +0 `, "unschedulable": `0/1 +Pending +0 `,
	}
	var out string
	var err error
	for name, columns := range want {
		line := regexp.MustCompile(`(?m)^` + name + ` +` + columns)
		s.until(name+" is shown as "+columns, func() bool {
			out = s.kubectl("get", "pods")
			return line.MatchString(out)
		})
	}
	s.contains(s.kubectl("get", "pods", "-o", "wide"), "NOMINATED NODE", "READINESS GATES", "0/1")
	s.contains(s.kubectl("describe", "pod", "unschedulable"), "FailedScheduling", "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
	out, err = s.cluster.Proa(t.Context(), "why", "unschedulable", "-n", s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	s.contains(out, "waits for a node", "does not fit on node "+s.node(), "node(s) didn't match Pod's node affinity/selector", "label a node as the pod's nodeSelector")
	s.contains(s.kubectl("describe", "pod", "no-config"), "FailedMount", `MountVolume.SetUp failed for volume "v" : configmap "none" not found`)
	s.contains(s.kubectl("describe", "pod", "terminating"), "Status:                    Terminating (lasts", "Termination Grace Period:  600s", "Killing", "Stopping container c")
	s.contains(s.kubectl("describe", "pod", "crashes"), "Reason:       CrashLoopBackOff", "Last State:     Terminated", "BackOff")
	s.kubectl("delete", "pod", "terminating", "--grace-period=0", "--force")
}

func TestP9_GatesMessagesAndGenerations(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("gated", "sleep 3600", "  readinessGates: [{conditionType: example.com/gate}]"))
	p := s.await("gated", "has its containers ready", func(p *v1.Pod) bool { return condition(p, v1.ContainersReady) == v1.ConditionTrue })
	for kind, want := range map[v1.PodConditionType]v1.ConditionStatus{
		v1.PodScheduled: v1.ConditionTrue, v1.PodReadyToStartContainers: v1.ConditionTrue, v1.PodInitialized: v1.ConditionTrue, v1.PodReady: v1.ConditionFalse,
	} {
		if got := condition(p, kind); got != want {
			t.Errorf("%s is %s", kind, got)
		}
	}
	if r := findCondition(p, v1.PodReady); r.Reason != "ReadinessGatesNotReady" || r.Message != `corresponding condition of pod readiness gate "example.com/gate" does not exist.` {
		t.Errorf("not ready for %s: %s", r.Reason, r.Message)
	}
	gate := func(status string) {
		s.kubectl("patch", "pod", "gated", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"example.com/gate","status":"`+status+`"}]}}`)
	}
	gate("True")
	s.ready("gated")
	gate("False")
	s.await("gated", "is not ready", func(p *v1.Pod) bool { return condition(p, v1.PodReady) == v1.ConditionFalse })

	messages := ", terminationMessagePolicy: FallbackToLogsOnError"
	s.apply(probes("ends", "",
		probe{"file", "", "echo from the file > /tmp/last; exit 3", ", terminationMessagePath: /tmp/last"},
		probe{"logs", "", "for i in $(seq 200); do echo line $i; done; exit 4", messages},
		probe{"well", "", "echo not asked for", messages},
		probe{"long", "", "head -c 9000 /dev/zero | tr '\\0' x > /dev/termination-log", ""},
	))
	ended := map[string]*v1.ContainerStateTerminated{}
	for _, c := range s.ended("ends").Status.ContainerStatuses {
		ended[c.Name] = c.State.Terminated
	}
	if e := ended["file"]; e.Message != "from the file\n" || e.ExitCode != 3 {
		t.Errorf("file: %v", e)
	}
	if e := ended["logs"]; !strings.HasSuffix(e.Message, "line 199\nline 200\n") || strings.Count(e.Message, "\n") != 80 {
		t.Errorf("logs: %v", e)
	}
	if e := ended["well"]; e.Message != "" || e.Reason != "Completed" || e.StartedAt.IsZero() || e.FinishedAt.IsZero() {
		t.Errorf("well: %v", e)
	}
	if e := ended["long"]; len(e.Message) != 3072 { // 12 KiB for all containers of the pod
		t.Errorf("long: %d bytes", len(e.Message))
	}
	s.kubectl("set", "image", "pod/gated", "c=nginx:1.14.2")
	s.await("gated", "was seen as changed", func(p *v1.Pod) bool {
		return p.Generation == 2 && p.Status.ObservedGeneration == 2 && p.Status.ContainerStatuses[0].RestartCount == 1
	})
}

func findCondition(p *v1.Pod, kind v1.PodConditionType) v1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return v1.PodCondition{}
}
