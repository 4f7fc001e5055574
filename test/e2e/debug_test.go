package e2e

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestP14_DebugInsideAPod(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("plain", "sleep 7777", ""))
	s.apply(busybox("shared", "sleep 8888", "  shareProcessNamespace: true"))
	s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: distroless, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: q, image: "proa.dev/quickstart:latest", imagePullPolicy: Never}]
`)
	for _, c := range []struct{ pod, target, sees string }{
		{"plain", "--target=c", "sleep 7777"},
		{"distroless", "--target=q", "/quickstart"},
		{"shared", "--profile=general", "/pause"},
	} {
		s.ready(c.pod)
		term := s.terminal(30, 100, "debug", "-it", c.pod, "--image=busybox:1.28", c.target, "--", "sh")
		term.shows("Defaulting debug container name to debugger-")
		term.shows("# ")
		term.types("ps\n")
		term.shows(c.sees)
		term.types("exit\n")
		if code := term.ends(); code != 0 {
			t.Errorf("%s: ended with %d:\n%s", c.pod, code, term.screen())
		}
	}
	s.contains(s.kubectl("describe", "pod", "plain"), "Ephemeral Containers:\n  debugger-")
	s.contains(s.refused("debug", "plain", "--image=busybox:1.28", "--target=none", "--", "sh"), `spec.ephemeralContainers[1].targetContainerName: Not found: "none"`)
	s.contains(s.refused("patch", "pod", "plain", "--subresource=ephemeralcontainers", "--type=json", "-p", `[{"op":"remove","path":"/spec/ephemeralContainers"}]`), "may not be removed")
}

func TestP14_DebugProfiles(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("plain", "sleep 7777", ""))
	s.ready("plain")
	// The bits of SYS_PTRACE, NET_ADMIN and SYS_ADMIN in the effective set: capabilities(7).
	const ptrace, netAdmin, sysAdmin = 1 << 19, 1 << 12, 1 << 21
	for profile, want := range map[string]uint64{"general": ptrace, "baseline": 0, "netadmin": netAdmin, "sysadmin": ptrace | netAdmin | sysAdmin} {
		s.kubectl("debug", "plain", "--image=busybox:1.28", "--profile="+profile, "-c", profile, "--target=c", "--", "grep", "CapEff", "/proc/self/status")
		s.await("plain", "has run "+profile, func(p *v1.Pod) bool {
			for _, c := range p.Status.EphemeralContainerStatuses {
				if c.Name == profile && c.State.Terminated != nil {
					return true
				}
			}
			return false
		})
		if got := hex(t, s.kubectl("logs", "plain", "-c", profile)); got&(ptrace|netAdmin|sysAdmin) != want {
			t.Errorf("%s: capabilities %x, want %x of these", profile, got, want)
		}
	}
}

func TestP14_DebugCopiesAndTheNode(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("plain", "sleep 7777", ""))
	s.ready("plain")
	s.kubectl("debug", "plain", "--copy-to=beside", "--share-processes", "--image=busybox:1.28", "--profile=general", "--", "sleep", "3600")
	s.kubectl("debug", "plain", "--copy-to=other", "--set-image=*=nginx:1.14.2")
	s.ready("beside")
	s.contains(s.kubectl("exec", "beside", "-c", "c", "--", "ps"), "/pause", "sleep 7777", "sleep 3600")
	s.contains(s.kubectl("get", "pod", "other", "-o", "jsonpath={.spec.containers[*].image}"), "nginx:1.14.2")

	s.kubectl("debug", "node/"+s.node(), "--image=busybox:1.28", "--profile=sysadmin", "--", "chroot", "/host", "cat", "/proc/1/comm")
	name := strings.TrimPrefix(strings.TrimSpace(s.kubectl("get", "pods", "-o", "name", "-l", "app.kubernetes.io/managed-by=kubectl-debug")), "pod/")
	p := s.ended(name)
	if !p.Spec.HostPID || !p.Spec.HostNetwork || p.Status.Phase != v1.PodSucceeded {
		t.Errorf("node debugger: %s, %v", p.Status.Phase, p.Status.ContainerStatuses)
	}
}
