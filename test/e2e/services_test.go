package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (s *session) service(name string) *v1.Service {
	s.Helper()
	o, err := s.client.CoreV1().Services(s.namespace).Get(s.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return o
}

// fetch the body of a page, from the machine itself.
func fetch(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

func (s *session) answers(url, want string) {
	s.Helper()
	var got string
	var err error
	s.until(url+" answers "+want, func() bool {
		got, err = fetch(url)
		return err == nil && got == want
	})
}

func TestN1_EveryWayToAService(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(busybox("web", httpd, "") + "---" + busybox("client", shell, "") + `---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  type: NodePort
  selector: {app: web}
  externalIPs: [198.51.100.77]
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: other, port: 81, targetPort: 8080}
`)
	s.ready("web")
	s.ready("client")
	service := s.service("web")
	node := s.kubectl("get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	for _, at := range []string{
		fmt.Sprintf("%s:80", service.Spec.ClusterIP), fmt.Sprintf("%s:81", service.Spec.ClusterIP),
		fmt.Sprintf("%s:%d", node, service.Spec.Ports[0].NodePort), fmt.Sprintf("127.0.0.1:%d", service.Spec.Ports[1].NodePort),
		"198.51.100.77:80",
	} {
		s.answers("http://"+at, "web")
		if !strings.HasPrefix(at, "127") {
			s.contains(s.kubectl("exec", "client", "--", "wget", "-qO-", "http://"+at), "web")
		}
	}
	s.contains(s.kubectl("exec", "web", "--", "wget", "-qO-", "http://web."+s.namespace), "web") // itself
}

func TestN1_EndpointsFollowReadiness(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(strings.Replace(busybox("web", "touch /tmp/ok && "+httpd, ""), "  - name: c", `  - name: c
    readinessProbe: {exec: {command: [test, -e, /tmp/ok]}, periodSeconds: 1, failureThreshold: 1}`, 1) + "---" + strings.Replace(oneWeb, "{name: NAME", "{name: web", 1))
	s.ready("web")
	address := "http://" + s.service("web").Spec.ClusterIP
	s.answers(address, "web")
	s.kubectl("exec", "web", "--", "rm", "/tmp/ok")
	s.until("the service is refused", func() bool {
		c, err := net.DialTimeout("tcp", s.service("web").Spec.ClusterIP+":80", 5*time.Second)
		if err == nil {
			c.Close()
			return false
		}
		return strings.Contains(err.Error(), "refused")
	})
	s.kubectl("exec", "web", "--", "touch", "/tmp/ok")
	s.answers(address, "web")
}
