package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/test/cluster"
)

// session is one test's namespace.
type session struct {
	*testing.T
	cluster   *cluster.Cluster
	client    kubernetes.Interface
	namespace string
}

// begin makes a namespace that goes with the test.
func begin(t *testing.T) *session {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("_", "-", "/", "-").Replace(t.Name()))
	s := &session{t, shared, client, fmt.Sprintf("%.50s-%d", name, time.Now().UnixNano()%100000)}
	_, err := client.CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := shared.Kubectl(context.Background(), "-n", s.namespace, "describe", "pods")
			t.Log(out)
			t.Log(tail(filepath.Join(shared.Data, "log", "proa.log"), 30), tail(filepath.Join(shared.Data, "log", "keeper.log"), 30))
		}
		_ = client.CoreV1().Namespaces().Delete(context.Background(), s.namespace, metav1.DeleteOptions{})
	})
	// The account that pods run as comes a moment later.
	s.awaitAccount()
	return s
}

// tail is the end of a log.
func tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return file + ":\n" + strings.Join(all[max(0, len(all)-lines):], "\n") + "\n"
}

func (s *session) awaitAccount() {
	s.Helper()
	s.until("the default service account exists", func() bool {
		_, err := s.client.CoreV1().ServiceAccounts(s.namespace).Get(s.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
}

// kubectl must succeed.
func (s *session) kubectl(args ...string) string {
	s.Helper()
	out, err := s.cluster.Kubectl(s.Context(), append([]string{"-n", s.namespace}, args...)...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// refused must fail; what it printed is returned.
func (s *session) refused(args ...string) string {
	s.Helper()
	out, err := s.cluster.Kubectl(s.Context(), append([]string{"-n", s.namespace}, args...)...)
	if err == nil {
		s.Fatalf("kubectl %v succeeded: %s", args, out)
	}
	return out
}

func (s *session) apply(manifest string) {
	s.Helper()
	if _, err := s.cluster.Apply(s.Context(), strings.ReplaceAll(manifest, "NAMESPACE", s.namespace)); err != nil {
		s.Fatal(err)
	}
}

// until polls for something that must become true.
func (s *session) until(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

func (s *session) pod(name string) *v1.Pod {
	s.Helper()
	p, err := s.client.CoreV1().Pods(s.namespace).Get(s.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// await polls the pod until it is there, and as wanted.
func (s *session) await(name, what string, is func(*v1.Pod) bool) (found *v1.Pod) {
	s.Helper()
	s.until("pod "+name+" "+what, func() bool {
		var err error
		found, err = s.client.CoreV1().Pods(s.namespace).Get(s.Context(), name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			s.Fatal(err)
		}
		return err == nil && is(found)
	})
	return found
}

func (s *session) ready(name string) *v1.Pod {
	s.Helper()
	return s.await(name, "is Ready", func(p *v1.Pod) bool { return condition(p, v1.PodReady) == v1.ConditionTrue })
}

func (s *session) ended(name string) *v1.Pod {
	s.Helper()
	return s.await(name, "has ended", func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
	})
}

func (s *session) gone(name string) {
	s.Helper()
	s.until("pod "+name+" is gone", func() bool {
		_, err := s.client.CoreV1().Pods(s.namespace).Get(s.Context(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// waiting polls until the container waits for that reason, and returns the message.
func (s *session) waiting(name, reason string) string {
	s.Helper()
	var message string
	s.await(name, "waits with "+reason, func(p *v1.Pod) bool {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if c.State.Waiting != nil && c.State.Waiting.Reason == reason {
				message = c.State.Waiting.Message
				return true
			}
		}
		return false
	})
	return message
}

func condition(p *v1.Pod, kind v1.PodConditionType) v1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func (s *session) contains(text string, wants ...string) {
	s.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			s.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// busybox is a manifest of one container that runs a shell script.
func busybox(name, script, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: NAMESPACE, labels: {app: %[1]s}}
spec:
  terminationGracePeriodSeconds: 1
%s
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, %q]
`, name, more, script)
}
