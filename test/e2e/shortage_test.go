package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// smallDisk is a cluster whose data folder is a disk of its own: 1.5 GiB of
// which little is really there.
func smallDisk(t *testing.T, settings string) *session {
	t.Helper()
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	registries, err := os.ReadFile(filepath.Join(c.Data, "registries.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	for _, command := range [][]string{
		{"truncate", "-s", "1500M", disk}, {"mkfs.ext4", "-q", "-F", "-m", "0", disk}, {"mount", "-o", "loop", disk, c.Data},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", c.Data).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	for name, content := range map[string]string{"registries.yaml": string(registries), "kubelet.yaml": settings} {
		if err := os.WriteFile(filepath.Join(c.Data, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return onCluster(t, c)
}

// A full disk evicts who uses most beyond what it asked for, and says so.
func TestP19_EvictionForTheDisk(t *testing.T) {
	t.Parallel()
	s := smallDisk(t, `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {nodefs.available: 30%}
evictionPressureTransitionPeriod: 1s
`)
	volume := "  volumes: [{name: v, emptyDir: {}}]"
	mount := func(manifest string) string {
		return strings.Replace(manifest, "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1)
	}
	s.apply(mount(busybox("modest", "fallocate -l 20M /v/file; sleep 3600", volume)))
	s.ready("modest")
	s.apply(mount(busybox("greedy", "sleep 1; fallocate -l 1100M /v/file; sleep 3600", volume)))
	p := s.await("greedy", "was evicted", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if p.Status.Reason != "Evicted" || condition(p, v1.DisruptionTarget) != v1.ConditionTrue {
		t.Errorf("status %+v", p.Status)
	}
	s.contains(p.Status.Message, "The node was low on resource: ephemeral-storage. Threshold quantity: ", "Container c was using ", "request is 0, has larger consumption of ephemeral-storage.")
	s.contains(s.kubectl("describe", "pod", "greedy"), "Warning  Evicted", "The node was low on resource: ephemeral-storage.")
	s.contains(s.kubectl("get", "events"), "EvictionThresholdMet", "Attempting to reclaim ephemeral-storage", "NodeHasDiskPressure")
	s.until("the node has room again", func() bool {
		node, err := s.client.CoreV1().Nodes().Get(t.Context(), s.node(), metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeDiskPressure {
				return c.Status == v1.ConditionFalse
			}
		}
		return false
	})
	if p := s.pod("modest"); condition(p, v1.PodReady) != v1.ConditionTrue {
		t.Errorf("the modest one: %+v", p.Status)
	}
}

// The system's own pods end last, and have the time that is kept for them.
func TestP19_NodeShutdown(t *testing.T) {
	t.Parallel()
	s := alone(t)
	volume := "  volumes: [{name: v, hostPath: {path: " + t.TempDir() + "}}]"
	ends := func(name, more string) string {
		script := "trap 'echo " + name + " >> /v/order; sleep 1; exit 0' TERM; while :; do sleep 0.05; done"
		manifest := strings.Replace(busybox(name, script, volume+more), "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20", 1)
		return strings.Replace(manifest, "    image:", "    volumeMounts: [{name: v, mountPath: /v}]\n    image:", 1)
	}
	s.apply(ends("system", "\n  priorityClassName: system-node-critical"))
	s.apply(ends("plain", ""))
	s.ready("system")
	s.ready("plain")
	s.contains(s.kubectl("get", "events"), "Starting kubelet")
	if _, err := s.cluster.Proa(t.Context(), "node", "shutdown", "--grace", "20s", "--critical-grace", "10s"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "system"} {
		p := s.pod(name)
		if p.Status.Phase != v1.PodFailed || p.Status.Reason != "Terminated" || p.Status.Message != "Pod was terminated in response to imminent node shutdown." {
			t.Errorf("%s: %s, %s: %s", name, p.Status.Phase, p.Status.Reason, p.Status.Message)
		}
	}
	order, err := os.ReadFile(filepath.Join(s.pod("plain").Spec.Volumes[0].HostPath.Path, "order"))
	if err != nil || string(order) != "plain\nsystem\n" {
		t.Errorf("they ended in the order %q, %v", order, err)
	}
	s.until("the node is not Ready", func() bool {
		out := s.kubectl("get", "node", s.node(), "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
		return out == "node is shutting down"
	})
}

// What may harm others is the node's owner's to allow.
func TestP6_SysctlsThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("safe", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; sleep 3600", "  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '77'}]}"))
	s.apply(busybox("unsafe", "sleep 3600", "  securityContext: {sysctls: [{name: kernel.msgmax, value: '65536'}]}"))
	p := s.await("unsafe", "was refused", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if p.Status.Reason != "SysctlForbidden" || !strings.Contains(p.Status.Message, `forbidden sysctl: "kernel.msgmax" not allowlisted`) {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
	s.ready("safe")
	s.contains(s.kubectl("logs", "safe"), "77\n")
}
