package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// shares gives the containers of a manifest a folder of the test's at /v.
func shares(t *testing.T, manifest string) (string, string) {
	t.Helper()
	dir := t.TempDir()
	manifest = strings.ReplaceAll(manifest, "image:", "volumeMounts: [{name: v, mountPath: /v}], image:")
	return dir, strings.Replace(manifest, "spec:\n", "spec:\n  volumes: [{name: v, hostPath: {path: "+dir+"}}]\n", 1)
}

func read(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return string(data)
}

// ends deletes a pod and tells how long it took to go.
func (s *session) ends(name string, args ...string) time.Duration {
	s.Helper()
	began := time.Now()
	s.kubectl(append([]string{"delete", "pod", name, "--wait=false"}, args...)...)
	s.gone(name)
	return time.Since(began)
}

func TestP12_HooksAtTheStart(t *testing.T) {
	t.Parallel()
	s := begin(t)
	dir, manifest := shares(t, probes("slow", "",
		probe{"c", "", "touch /v/runs; sleep 3600", ", lifecycle: {postStart: {exec: {command: [sh, -c, 'until test -e /v/go; do sleep 0.1; done']}}}"}))
	s.apply(manifest)
	s.apply(probes("fails", "  terminationGracePeriodSeconds: 1", probe{"c", "", "sleep 3600", ", lifecycle: {postStart: {exec: {command: [sh, -c, 'echo said; exit 3']}}}"}))
	s.apply(probes("sleeps", "", probe{"c", "", "sleep 3600", ", lifecycle: {postStart: {sleep: {seconds: 1}}}"}))
	s.until("the command runs beside its hook", func() bool { _, err := os.Stat(filepath.Join(dir, "runs")); return err == nil })
	if c := s.pod("slow").Status.ContainerStatuses[0]; c.State.Waiting == nil || c.State.Waiting.Reason != "ContainerCreating" || *c.Started {
		t.Errorf("while postStart runs: %v", c)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ready("slow")
	s.ready("sleeps")
	end := s.ended("fails").Status.ContainerStatuses[0].State.Terminated
	if end.ExitCode != 137 && end.ExitCode != 143 {
		t.Errorf("the container whose postStart failed ended as %v", end)
	}
	s.contains(s.kubectl("describe", "pod", "fails"), "FailedPostStartHook", "PostStartHook failed")
}

func TestP12_HooksAtTheEnd(t *testing.T) {
	t.Parallel()
	s := begin(t)
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.Path + " " + r.Header.Get("X-Hook") }))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	script := "trap 'exit 0' TERM; while :; do sleep 0.1; done"
	hook := func(h string) string { return ", lifecycle: {preStop: {" + h + "}}" }
	grace := func(n string) string { return "  terminationGracePeriodSeconds: " + n }
	s.apply(probes("asks", grace("20")+"\n  hostNetwork: true", probe{"c", "", script, hook("httpGet: {host: 127.0.0.1, path: /bye, port: " + port + ", httpHeaders: [{name: X-Hook, value: 'yes'}]}")}))
	s.apply(probes("sleeps", grace("20"), probe{"c", "", script, hook("sleep: {seconds: 2}")}))
	s.apply(probes("long", grace("2"), probe{"c", "", "trap '' TERM; while :; do sleep 0.1; done", hook("exec: {command: [sleep, '600']}")}))
	s.apply(probes("fails", grace("20"), probe{"c", "", script, hook("exec: {command: [sh, -c, 'echo said; exit 3']}")}))
	for _, name := range []string{"asks", "sleeps", "long", "fails"} {
		s.ready(name)
	}
	s.ends("asks")
	if asked != "/bye yes" {
		t.Errorf("the hook asked for %q", asked)
	}
	if took := s.ends("sleeps"); took < 2*time.Second || took > 15*time.Second {
		t.Errorf("a hook that sleeps 2 s took %v", took)
	}
	// The grace period of 2 s, and 2 s more.
	if took := s.ends("long"); took < 4*time.Second || took > 15*time.Second {
		t.Errorf("a hook longer than the grace period took %v", took)
	}
	s.ends("fails")
	s.contains(s.kubectl("get", "events"), "FailedPreStopHook", "PreStopHook failed")
}

func TestP13_DeadlinesAndTheOrderOfTheEnd(t *testing.T) {
	t.Parallel()
	s := begin(t)
	dir, manifest := shares(t, `
apiVersion: v1
kind: Pod
metadata: {name: ordered, namespace: NAMESPACE}
spec:
  restartPolicy: Never
  initContainers:
  - {name: a, restartPolicy: Always, command: [sh, -c, "trap 'echo a >> /v/order; exit 0' TERM; while :; do sleep 0.1; done"], image: "busybox:1.28"}
  - {name: once, command: [sh, -c, "echo once >> /v/order"], image: "busybox:1.28"}
  - {name: b, restartPolicy: Always, command: [sh, -c, "trap 'sleep 1; echo b >> /v/order; exit 0' TERM; while :; do sleep 0.1; done"], image: "busybox:1.28"}
  containers:
  - {name: main, command: [sh, -c, "echo main >> /v/order"], image: "busybox:1.28"}
`)
	s.apply(manifest)
	s.apply(strings.Replace(probes("late", "  activeDeadlineSeconds: 2\n  terminationGracePeriodSeconds: 1", probe{"c", "", "sleep 3600", ""}), "  containers:", "  initContainers: [{name: i, image: \"busybox:1.28\", command: [sleep, \"3600\"]}]\n  containers:", 1))
	s.apply(strings.Replace(probes("failed", "", probe{"c", "", "sleep 3600", ""}), "  containers:", "  initContainers: [{name: i, image: \"busybox:1.28\", command: [sh, -c, 'exit 3']}]\n  containers:", 1))
	if p := s.ended("ordered"); p.Status.Phase != v1.PodSucceeded {
		t.Errorf("ordered: %v", p.Status)
	}
	if got := read(dir, "order"); got != "once\nmain\nb\na\n" {
		t.Errorf("the order is %q", got)
	}
	p := s.ended("late")
	if p.Status.Reason != "DeadlineExceeded" || p.Status.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("late: %s: %s", p.Status.Reason, p.Status.Message)
	}
	p = s.ended("failed")
	if i := p.Status.InitContainerStatuses[0].State.Terminated; p.Status.Phase != v1.PodFailed || i == nil || i.ExitCode != 3 || p.Status.ContainerStatuses[0].State.Waiting == nil {
		t.Errorf("failed: %v", p.Status)
	}
}

func TestP16_StubbornStuckHeldAndForced(t *testing.T) {
	t.Parallel()
	s := begin(t)
	stubborn := "trap '' TERM; while :; do sleep 0.2; done"
	grace := func(name, script, seconds, more string) string {
		return strings.Replace(busybox(name, script, more), "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: "+seconds, 1)
	}
	s.apply(grace("held", stubborn, "1", ""))
	s.apply(grace("patient", stubborn, "600", ""))
	s.apply(grace("forced", "sleep 777001", "600", ""))
	s.apply(strings.Replace(grace("stuck", "sleep 3600", "600", "  volumes: [{name: v, configMap: {name: none}}]"), "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1))
	s.apply(grace("init", "sleep 3600", "600", "  initContainers: [{name: i, image: \"busybox:1.28\", command: [sleep, \"777002\"]}]"))
	for _, name := range []string{"held", "patient", "forced"} {
		s.ready(name)
	}
	s.kubectl("patch", "pod", "held", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/wait"]}}`)
	s.kubectl("delete", "pod", "held", "--wait=false")
	if e := s.ended("held").Status.ContainerStatuses[0].State.Terminated; e.ExitCode != 137 || e.Reason != "Error" {
		t.Errorf("held: %v", e)
	}
	s.contains(s.refused("patch", "pod", "held", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/wait","example.com/more"]}}`),
		"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted")
	s.kubectl("patch", "pod", "held", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	s.gone("held")

	s.kubectl("delete", "pod", "patient", "--wait=false")
	s.contains(s.kubectl("get", "pod", "patient"), "Terminating")
	s.kubectl("delete", "pod", "patient", "--wait=false", "--grace-period=900")
	if g := s.pod("patient").DeletionGracePeriodSeconds; *g != 600 {
		t.Errorf("the grace period grew to %d", *g)
	}
	s.ends("patient", "--now")

	s.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
	s.until("its process is gone", func() bool { return !running("sleep\x00777001") })
	s.ends("stuck", "--grace-period=600")
	s.until("the init container runs", func() bool { return running("sleep\x00777002") })
	s.ends("init", "--grace-period=1")
	if running("sleep\x00777002") {
		t.Error("the pod is gone, its init container's process not")
	}
}

// What may change of a pod's spec, and the API's words for the rest.
func TestP17_WhatMayChange(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(probes("two", "  terminationGracePeriodSeconds: 0", probe{"a", "", "sleep 3600", ""}, probe{"b", "", "sleep 3600", ""}))
	before := s.ready("two")
	patch := func(p string) []string { return []string{"patch", "pod", "two", "-p", p} }
	s.contains(s.refused(patch(`{"spec":{"containers":[{"name":"a","command":["true"]}]}}`)...), "spec: Forbidden: pod updates may not change fields other than "+
		"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"+
		"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)")
	s.contains(s.refused(patch(`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}}]}}`)...), "Forbidden: pod updates may not change fields other than")
	s.contains(s.refused(patch(`{"spec":{"nodeName":"other"}}`)...), "Forbidden: pod updates may not change fields other than")
	s.contains(s.refused(patch(`{"metadata":{"uid":"other"}}`)...), `metadata.uid: Invalid value: "other": field is immutable`)
	s.kubectl(patch(`{"spec":{"activeDeadlineSeconds":5000}}`)...)
	s.kubectl(patch(`{"spec":{"activeDeadlineSeconds":4000}}`)...)
	s.contains(s.refused(patch(`{"spec":{"activeDeadlineSeconds":6000}}`)...), "spec.activeDeadlineSeconds: Invalid value: 6000: must be less than or equal to previous value")
	s.kubectl("patch", "pod", "two", "--type=json", "-p", `[{"op":"add","path":"/spec/tolerations/-","value":{"key":"example.com/more","operator":"Exists"}}]`)
	s.contains(s.refused("patch", "pod", "two", "--type=json", "-p", `[{"op":"remove","path":"/spec/tolerations/2"}]`),
		"spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds")

	s.kubectl("set", "image", "pod/two", "a=nginx:1.14.2")
	after := s.await("two", "has its new image", func(p *v1.Pod) bool {
		return p.Status.ObservedGeneration == p.Generation && p.Status.ContainerStatuses[0].RestartCount == 1 && condition(p, v1.PodReady) == v1.ConditionTrue
	})
	if after.Generation != before.Generation+4 {
		t.Errorf("generation %d, then %d", before.Generation, after.Generation)
	}
	if a, b := after.Status.ContainerStatuses[0], after.Status.ContainerStatuses[1]; !strings.Contains(a.Image, "nginx") || b.RestartCount != 0 || b.ContainerID != before.Status.ContainerStatuses[1].ContainerID {
		t.Errorf("after the change: %v", after.Status.ContainerStatuses)
	}
	s.contains(s.kubectl("describe", "pod", "two"), "Container a definition changed, will be restarted")
}

// A pod that has its own rules of when to restart.
func TestP8_RulesOfContainers(t *testing.T) {
	t.Parallel()
	s := begin(t)
	rule := func(action string) string {
		return ", restartPolicy: Never, restartPolicyRules: [{action: " + action + ", exitCodes: {operator: In, values: [42]}}]"
	}
	fails := func(file, code string) string {
		return "test -e /v/" + file + " && exit 0; touch /v/" + file + "; exit " + code
	}
	emptyDir := func(manifest string) string {
		manifest = strings.ReplaceAll(manifest, "image:", "volumeMounts: [{name: v, mountPath: /v}], image:")
		return strings.Replace(manifest, "spec:\n", "spec:\n  volumes: [{name: v, emptyDir: {}}]\n", 1)
	}
	s.apply(emptyDir(probes("rules", "",
		probe{"again", "", fails("a", "42"), rule("Restart")},
		probe{"ends", "", fails("b", "41"), rule("Restart")},
		probe{"always", "", fails("c", "7"), ", restartPolicy: OnFailure"})))
	dir, all := shares(t, strings.Replace(probes("all", "",
		probe{"watches", "", "echo watches >> /v/log; until test -e /v/second; do sleep 0.1; done", ""},
		probe{"asks", "", "test -e /v/second && exit 0; until grep -q watches /v/log; do sleep 0.1; done; test -e /v/first && touch /v/second && exit 0; touch /v/first; exit 42", rule("RestartAllContainers")},
	), "  containers:\n", "  initContainers: [{name: i, image: \"busybox:1.28\", command: [sh, -c, 'echo init >> /v/log']}]\n  containers:\n", 1))
	s.apply(all)
	p := s.ended("rules")
	if p.Status.Phase != v1.PodFailed {
		t.Errorf("rules: %s", p.Status.Phase)
	}
	for _, c := range p.Status.ContainerStatuses {
		want := map[string][2]int32{"again": {1, 0}, "ends": {0, 41}, "always": {1, 0}}[c.Name]
		if c.RestartCount != want[0] || c.State.Terminated == nil || c.State.Terminated.ExitCode != want[1] {
			t.Errorf("%s: %d restarts, %v", c.Name, c.RestartCount, c.State)
		}
	}
	if p := s.ended("all"); p.Status.Phase != v1.PodSucceeded {
		t.Errorf("all: %v", p.Status)
	}
	if got := read(dir, "log"); got != "init\nwatches\ninit\nwatches\n" {
		t.Errorf("all containers ran as %q", got)
	}
}
