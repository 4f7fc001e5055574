package e2e

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// What the node's owner sets in kubelet.yaml holds for its pods: the longest
// back-off, how many processes a pod may have, which sysctls are allowed.
func TestP8_TheNodesOwnLimits(t *testing.T) {
	t.Parallel()
	s := alone(t, `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
podPidsLimit: 30
allowedUnsafeSysctls: [kernel.msg*]
`)
	s.apply(busybox("crashes", "exit 1", ""))
	s.apply(probes("forks", "  securityContext: {sysctls: [{name: kernel.msgmax, value: \"65536\"}]}",
		probe{"c", "", "cat /proc/sys/kernel/msgmax; i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done", ""}))
	s.await("crashes", "was restarted again and again", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 4
	})
	s.contains(s.waiting("crashes", "CrashLoopBackOff"), "back-off 1s restarting failed container=c")
	if p := s.ended("forks"); p.Status.Phase != v1.PodFailed {
		t.Errorf("forks: %v", p.Status)
	}
	s.contains(s.kubectl("logs", "forks"), "65536\n", "can't fork: Resource temporarily unavailable")
	s.kubectl("delete", "pods", "--all", "--grace-period=0")
}

// What a pod uses, as `kubectl top` and the node's own summary tell it.
func TestP5_UsageIsTold(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(strings.Replace(busybox("busy", "dd if=/dev/zero of=/dev/shm/f bs=1M count=30; while :; do :; done", ""), "    image:", "    resources: {limits: {cpu: 100m}}\n    image:", 1))
	s.ready("busy")
	var top string
	s.until("the pod's usage is known", func() bool {
		out, err := s.cluster.Kubectl(t.Context(), "-n", s.namespace, "top", "pod", "busy", "--containers", "--no-headers")
		top = out
		fields := strings.Fields(out)
		return err == nil && len(fields) == 4 && fields[2] != "0m" && fields[2] != "1m" && len(fields[3]) == 4 // of two figures, and Mi
	})
	s.contains(top, "busy")
	summary := s.kubectl("get", "--raw", "/api/v1/nodes/"+s.node()+"/proxy/stats/summary")
	s.contains(summary, `"name":"busy"`, `"workingSetBytes":`, `"rootfs":`, `"ephemeral-storage":`)
}
