package e2e

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// resize asks for other resources of containers, each as "name requests limits".
func resize(pod string, containers ...string) []string {
	var list []string
	for _, c := range containers {
		name, resources, _ := strings.Cut(c, " ")
		list = append(list, fmt.Sprintf(`{"name":%q,"resources":%s}`, name, resources))
	}
	return []string{"patch", "pod", pod, "--subresource=resize", "-p", `{"spec":{"containers":[` + strings.Join(list, ",") + `]}}`}
}

// limits that hold for a container, as it sees them: memory in bytes, CPU time in
// microseconds of 100 ms, and its share as requested.
func (s *session) limits(pod, container string) string {
	s.Helper()
	const look = "cd /sys/fs/cgroup; if [ -d memory ]; then cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us; else cat memory.max; cut -d' ' -f1 cpu.max; fi"
	return strings.Join(strings.Fields(s.kubectl("exec", pod, "-c", container, "--", "sh", "-c", look)), " ")
}

func TestP5_ResizeInPlace(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: sized, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: side
    image: busybox:1.28
    restartPolicy: Always
    command: [sleep, "3600"]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}
  containers:
  - name: a
    image: busybox:1.28
    command: [sh, -c, "dd if=/dev/zero of=/dev/shm/f bs=1M count=20; echo filled; sleep 3600"]
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 200m, memory: 128Mi}}
  - name: b
    image: busybox:1.28
    command: [sleep, "3600"]
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
`)
	before := s.ready("sized")
	s.until("it uses memory", func() bool { return strings.Contains(s.kubectl("logs", "sized", "-c", "a"), "filled") })
	done := func(p *v1.Pod) bool {
		return p.Status.ObservedGeneration == p.Generation && findCondition(p, v1.PodResizePending).Type == "" && findCondition(p, v1.PodResizeInProgress).Type == "" &&
			condition(p, v1.PodReady) == v1.ConditionTrue && sized(p)
	}
	s.kubectl(resize("sized", `a {"requests":{"cpu":"20m","memory":"40Mi"},"limits":{"cpu":"300m","memory":"160Mi"}}`, `b {"limits":{"cpu":"150m"}}`)...)
	p := s.await("sized", "has its new size", done)
	for i, want := range []string{"167772160 30000", "67108864 15000"} {
		c := p.Status.ContainerStatuses[i]
		if got := s.limits("sized", c.Name); got != want || c.RestartCount != 0 || c.ContainerID != before.Status.ContainerStatuses[i].ContainerID {
			t.Errorf("%s has %q after %d restarts, want %q without one", c.Name, got, c.RestartCount, want)
		}
	}
	s.kubectl(resize("sized", `b {"requests":{"memory":"16Mi"},"limits":{"memory":"48Mi"}}`)...)
	p = s.await("sized", "has restarted for its new size", func(p *v1.Pod) bool { return done(p) && p.Status.ContainerStatuses[1].RestartCount == 1 })
	if got := s.limits("sized", "b"); got != "50331648 15000" || p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("b has %q; %v", got, p.Status.ContainerStatuses)
	}
	s.kubectl("patch", "pod", "sized", "--subresource=resize", "-p", `{"spec":{"initContainers":[{"name":"side","resources":{"limits":{"cpu":"120m","memory":"40Mi"}}}]}}`)
	s.await("sized", "has its sidecar resized", done)
	if got := s.limits("sized", "side"); got != "41943040 12000" {
		t.Errorf("the sidecar has %q", got)
	}

	// A limit below what is used is not tried, and said to be so until it is taken back.
	s.kubectl(resize("sized", `a {"requests":{"memory":"8Mi"},"limits":{"memory":"8Mi"}}`)...)
	p = s.await("sized", "says that it can't shrink", func(p *v1.Pod) bool { return findCondition(p, v1.PodResizeInProgress).Reason == v1.PodReasonError })
	c := findCondition(p, v1.PodResizeInProgress)
	s.contains(c.Message, `attempting to set container "a" memory limit (8388608) below current usage`)
	if c.ObservedGeneration != p.Generation || s.limits("sized", "a") != "167772160 30000" {
		t.Errorf("generation %d: %+v", p.Generation, c)
	}
	s.kubectl(resize("sized", `a {"requests":{"memory":"40Mi"},"limits":{"memory":"160Mi"}}`)...)
	s.await("sized", "is what it was", done)
	if n := s.pod("sized").Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("%d restarts", n)
	}
	s.contains(s.kubectl("get", "events"), "ResizeStarted", "ResizeCompleted", "ResizeError")
}

// sized tells whether every container has what its spec asks for.
func sized(p *v1.Pod) bool {
	for i, c := range p.Spec.Containers {
		st := p.Status.ContainerStatuses[i]
		if st.Resources == nil || !st.Resources.Limits.Cpu().Equal(*c.Resources.Limits.Cpu()) || !st.Resources.Limits.Memory().Equal(*c.Resources.Limits.Memory()) ||
			!st.AllocatedResources.Cpu().Equal(*c.Resources.Requests.Cpu()) || !st.AllocatedResources.Memory().Equal(*c.Resources.Requests.Memory()) {
			return false
		}
	}
	return true
}

func TestP5_ResizesThatMustWaitOrCannotBe(t *testing.T) {
	t.Parallel()
	s := begin(t)
	node, err := client.CoreV1().Nodes().Get(t.Context(), s.node(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, resources string) string {
		return strings.Replace(busybox(name, "sleep 3600", ""), "    image:", "    resources: "+resources+"\n    image:", 1)
	}
	s.apply(with("grows", "{requests: {cpu: 10m}}") + "---" + with("blocks", "{requests: {cpu: 500m}}") + "---" + with("guaranteed", "{limits: {cpu: 10m, memory: 16Mi}}"))
	s.ready("grows")
	s.ready("blocks")
	s.ready("guaranteed")
	s.contains(s.refused(resize("guaranteed", `c {"requests":{"cpu":"5m"}}`)...), `Pod QOS Class may not change as a result of resizing`)
	s.contains(s.refused(resize("guaranteed", `c {"limits":{"ephemeral-storage":"1Gi"}}`)...), "only cpu and memory resources are mutable")

	s.contains(s.refused(resize("grows", `c {"requests":{"cpu":"1000"}}`)...), "node didn't have enough allocatable resources: cpu, requested: 1000000, allocatable: ")
	pending := func(p *v1.Pod) v1.PodCondition { return findCondition(p, v1.PodResizePending) }
	wants := node.Status.Allocatable.Cpu().MilliValue() - 300
	s.kubectl(resize("grows", fmt.Sprintf(`c {"requests":{"cpu":"%dm"}}`, wants))...)
	p := s.await("grows", "must wait", func(p *v1.Pod) bool { return pending(p).Reason == v1.PodReasonDeferred })
	s.contains(pending(p).Message, "Node didn't have enough resource: cpu")
	if got := p.Status.ContainerStatuses[0].AllocatedResources.Cpu().MilliValue(); got != 10 || pending(p).ObservedGeneration != p.Generation {
		t.Errorf("meanwhile it has %dm; generation %d: %+v", got, p.Generation, pending(p))
	}
	out, err := s.cluster.Proa(t.Context(), "why", "grows", "-n", s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	s.contains(out, "Node didn't have enough resource: cpu")
	s.kubectl("delete", "pod", "blocks")
	s.await("grows", "has what it wants", func(p *v1.Pod) bool {
		return pending(p).Type == "" && p.Status.ContainerStatuses[0].AllocatedResources.Cpu().MilliValue() == wants
	})
	s.kubectl("delete", "pod", "grows", "--wait=false")
}
