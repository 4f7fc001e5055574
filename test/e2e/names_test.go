package e2e

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

const (
	shell  = "sleep 3600"
	httpd  = "mkdir /www && hostname > /www/index.html && httpd -f -h /www -p 8080"
	oneWeb = `
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
`
)

// resolve asks, from within a pod, for the addresses of a name.
func (s *session) resolve(pod, kind, name string) string {
	s.Helper()
	out, _ := s.cluster.Kubectl(s.Context(), "-n", s.namespace, "exec", pod, "--", "nslookup", "-type="+kind, name)
	return out
}

func TestN2_AnInitContainerWaitsForAService(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("waits", shell, `
  initContainers:
  - name: wait
    image: busybox:1.28
    command: [sh, -c, "until nslookup wait-service.NAMESPACE.svc.cluster.local; do sleep 0.1; done"]`))
	s.await("waits", "waits in its init container", func(p *v1.Pod) bool {
		return len(p.Status.InitContainerStatuses) == 1 && p.Status.InitContainerStatuses[0].State.Running != nil
	})
	s.apply(strings.Replace(oneWeb, "{name: NAME", "{name: wait-service", 1))
	s.ready("waits")
	s.contains(s.kubectl("logs", "waits", "-c", "wait"), "wait-service."+s.namespace+".svc.cluster.local")
}

func TestN2_NamesByTheSpecification(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("asks", shell, "") + "---" + busybox("web", httpd, "  hostname: first\n  subdomain: pods"))
	s.apply(strings.ReplaceAll(oneWeb, "{name: NAME", "{name: web") + "---" + strings.NewReplacer("{name: NAME", "{name: pods", "spec:", "spec:\n  clusterIP: None").Replace(oneWeb) + `---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: NAMESPACE}
spec: {type: ExternalName, externalName: web.NAMESPACE.svc.cluster.local}
`)
	s.ready("asks")
	web := s.ready("web").Status.PodIP
	cluster := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	s.until("the headless service has its endpoint", func() bool {
		return strings.Contains(s.resolve("asks", "a", "pods"), web)
	})
	for _, c := range []struct{ kind, name, want string }{
		{"a", "web." + s.namespace + ".svc.cluster.local", cluster},
		{"a", "first.pods." + s.namespace + ".svc.cluster.local", web},
		{"a", strings.ReplaceAll(web, ".", "-") + "." + s.namespace + ".pod.cluster.local", web},
		{"srv", "_http._tcp.web." + s.namespace + ".svc.cluster.local", "0 100 80 web." + s.namespace + ".svc.cluster.local"},
		{"srv", "_http._tcp.pods." + s.namespace + ".svc.cluster.local", "0 100 8080 first.pods." + s.namespace + ".svc.cluster.local"},
		{"ptr", reverse(cluster), "web." + s.namespace + ".svc.cluster.local"},
		{"ptr", reverse(web), "first.pods." + s.namespace + ".svc.cluster.local"},
		{"a", "elsewhere." + s.namespace + ".svc.cluster.local", cluster},
		{"a", "missing." + s.namespace + ".svc.cluster.local", "NXDOMAIN"},
	} {
		if got := s.resolve("asks", c.kind, c.name); !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %s, want %s", c.kind, c.name, got, c.want)
		}
	}
	// By the search list: busybox's nslookup leaves it out for names with a dot.
	for name, want := range map[string]string{
		"web": cluster, "web." + s.namespace: cluster, "web." + s.namespace + ".svc": cluster, "first.pods": web, "elsewhere": cluster,
	} {
		out, _ := s.cluster.Kubectl(t.Context(), "-n", s.namespace, "exec", "asks", "--", "ping", "-c", "1", "-W", "1", name)
		s.contains(out, "("+want+")")
	}
	s.contains(s.kubectl("exec", "asks", "--", "wget", "-qO-", "http://web"), "first")
	s.contains(s.kubectl("exec", "asks", "--", "wget", "-qO-", "http://first.pods:8080"), "first")
}

// reverse is the name of an IPv4 address.
func reverse(addr string) string {
	parts := strings.Split(addr, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".") + ".in-addr.arpa"
}
