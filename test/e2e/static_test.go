package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// staticPod is a manifest of a busybox that says something and stays.
func staticPod(name, namespace, words string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.28", command: [sh, -c, "echo %s; sleep 3600"]}]
`, name, namespace, words)
}

// manifest writes a file into the folder of static pods, as editors do: whole.
func (s *session) manifest(name, content string) {
	s.Helper()
	path := filepath.Join(s.cluster.Manifests, s.namespace+"-"+name)
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.Remove(path) })
}

// node is the name of the cluster's only node.
func (s *session) node() string {
	s.Helper()
	list, err := s.client.CoreV1().Nodes().List(s.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		s.Fatal(list, err)
	}
	return list.Items[0].Name
}

func TestP18_StaticPods(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.manifest("web.yaml", staticPod("web", s.namespace, "first"))
	s.manifest("broken.yaml", "kind: [")
	s.manifest("refers.yaml", strings.Replace(staticPod("refers", s.namespace, "x"), "command:", "envFrom: [{configMapRef: {name: x}}], command:", 1))
	web := "web-" + s.node()
	s.until("the mirror is there", func() bool {
		_, err := s.client.CoreV1().Pods(s.namespace).Get(t.Context(), web, metav1.GetOptions{})
		return err == nil
	})
	before := s.ready(web)
	if before.Annotations["kubernetes.io/config.source"] != "file" || before.Annotations["kubernetes.io/config.mirror"] == "" {
		t.Errorf("annotations %v", before.Annotations)
	}
	s.until("it prints", func() bool { return strings.Contains(s.kubectl("logs", web), "first") })
	// What the API says of it is no news to the node.
	s.contains(s.refused("annotate", "pod", web, "kubernetes.io/config.mirror-"), "may not remove or update mirror pod annotation")
	s.kubectl("set", "image", "pod/"+web, "c=nginx:1.14.2")

	for range 3 { // each waits until it is gone, however soon it comes back
		s.kubectl("delete", "pod", web, "--timeout=20s")
		s.until("the mirror is back", func() bool {
			_, err := s.client.CoreV1().Pods(s.namespace).Get(t.Context(), web, metav1.GetOptions{})
			return err == nil
		})
	}
	after := s.await(web, "is back and Ready", func(p *v1.Pod) bool {
		return p.UID != before.UID && condition(p, v1.PodReady) == v1.ConditionTrue
	})
	if after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Error("the container was restarted with its mirror")
	}

	s.until("both files that can't be used are told of", func() bool {
		events := s.kubectl("get", "events", "-n", "default", "--field-selector", "reason=InvalidManifest")
		return strings.Contains(events, "broken.yaml not used: invalid manifest") && strings.Contains(events, "refers.yaml not used: static pods may not reference configmaps")
	})

	s.manifest("web.yaml", staticPod("web", s.namespace, "second"))
	s.await(web, "runs the new manifest", func(p *v1.Pod) bool {
		return p.UID != after.UID && condition(p, v1.PodReady) == v1.ConditionTrue
	})
	s.until("it prints", func() bool { return strings.Contains(s.kubectl("logs", web), "second") })
	if err := os.Remove(filepath.Join(s.cluster.Manifests, s.namespace+"-web.yaml")); err != nil {
		t.Fatal(err)
	}
	s.gone(web)
}

// A node takes its settings from kubelet.yaml, a pod from a URL; the pod lives on
// while the URL is silent and proa is killed.
func TestP18_StaticPodsFromAURL(t *testing.T) {
	t.Parallel()
	var manifest atomic.Value
	manifest.Store(staticPod("far", "default", "from afar"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, manifest.Load())
	}))
	defer server.Close()
	s := alone(t, fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 7
staticPodURL: %s
staticPodURLHeader: {Authorization: [Bearer key]}
httpCheckFrequency: 1s
`, server.URL))
	far := "far-" + s.node()
	s.until("the mirror is there", func() bool {
		_, err := s.client.CoreV1().Pods("default").Get(t.Context(), far, metav1.GetOptions{})
		return err == nil
	})
	before := s.ready(far)
	s.contains(s.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.pods}"), "7")

	server.CloseClientConnections()
	server.Listener.Close()
	status, err := s.cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	up(t, s.cluster)
	if after := s.ready(far); after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Error("the container was restarted")
	}
}
