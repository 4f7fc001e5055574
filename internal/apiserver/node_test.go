package apiserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// nodeAgent answers as a node does: logs as the request that came, exec as an echo.
type nodeAgent struct{}

func (nodeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/containerLogs/"):
		fmt.Fprintln(w, r.URL.Path, r.URL.RawQuery)
	case strings.HasPrefix(r.URL.Path, "/exec/"):
		o, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, nodeAgent{}, "", "", "", r.URL.Query()["command"], o, time.Minute, time.Minute, remotecommand.SupportedStreamingProtocols)
	default:
		fmt.Fprintln(w, "node", r.URL.Path)
	}
}

func (nodeAgent) ExecInContainer(_ context.Context, _, _, _ string, cmd []string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	fmt.Fprintln(out, cmd)
	_, err := io.Copy(out, in)
	return err
}

// startNode serves an agent and registers its node, with a pod "web" on it.
func startNode(t *testing.T) (*apitest.Server, kubectl) {
	t.Helper()
	agent := httptest.NewTLSServer(nodeAgent{})
	t.Cleanup(agent.Close)
	pool := x509.NewCertPool()
	pool.AddCert(agent.Certificate())
	s := apitest.Start(t, func(c *apiserver.Config) { c.Kubelet = &tls.Config{RootCAs: pool, ServerName: "example.com"} })
	makeDefaultAccount(t, s)
	host, port, err := net.SplitHostPort(agent.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(port)
	ctx := t.Context()
	node, err := s.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if _, err := s.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.CoreV1().Pods("default").Create(ctx, simplePod("web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bind(t, s, "web")
	return s, newKubectl(t, s)
}

func bind(t *testing.T, s *apitest.Server, pod string) {
	t.Helper()
	err := s.Client.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatANodeAnswers(t *testing.T) {
	s, k := startNode(t)
	contains(t, k.run("logs", "web", "--tail=3", "--timestamps"), "/containerLogs/default/web/c", "tailLines=3", "timestamps=true")
	contains(t, k.stdin("hello", "exec", "-i", "web", "--", "echo", "a b"), "[echo a b]", "hello")
	contains(t, k.run("get", "--raw", "/api/v1/nodes/n/proxy/stats"), "node /stats")
	contains(t, k.fails("", "logs", "web", "-c", "nope"), "container nope is not valid for pod web")

	err := s.Client.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Target: corev1.ObjectReference{Name: "other"}}, metav1.CreateOptions{})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `pod web is already assigned to node "n"`) {
		t.Errorf("bound twice: %v", err)
	}
}

func TestGracefulDeletion(t *testing.T) {
	s, _ := startNode(t)
	ctx := t.Context()
	pods := s.Client.CoreV1().Pods("default")
	grace := func() int64 {
		p, err := pods.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p.DeletionGracePeriodSeconds == nil {
			t.Fatal("not being deleted")
		}
		return *p.DeletionGracePeriodSeconds
	}
	remove := func(seconds int64) {
		if err := pods.Delete(ctx, "web", metav1.DeleteOptions{GracePeriodSeconds: &seconds}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pods.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if g := grace(); g != 30 {
		t.Errorf("grace %d, want 30", g)
	}
	if remove(60); grace() != 30 {
		t.Errorf("grace became longer: %d", grace())
	}
	if remove(5); grace() != 5 {
		t.Errorf("grace %d, want 5", grace())
	}
	remove(0)
	if _, err := pods.Get(ctx, "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after grace 0: %v, want not found", err)
	}
}

func TestEvictionAsksTheBudget(t *testing.T) {
	s, _ := startNode(t)
	ctx := t.Context()
	pods := s.Client.CoreV1().Pods("default")
	pod, err := pods.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Labels = map[string]string{"a": "b"}
	if pod, err = pods.Update(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	one := intstr.FromInt32(1)
	budgets := s.Client.PolicyV1().PodDisruptionBudgets("default")
	budget, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "b"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: pod.Labels}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	budget.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: budget.Generation, CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1}
	if budget, err = budgets.UpdateStatus(ctx, budget, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	evict := func() error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
	}
	if err := evict(); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("with a used up budget: %v, want too many requests", err)
	}
	budget.Status.DisruptionsAllowed = 1
	if _, err := budgets.UpdateStatus(ctx, budget, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := evict(); err != nil {
		t.Fatal(err)
	}
	budget, err = budgets.Get(ctx, "b", metav1.GetOptions{})
	if err != nil || budget.Status.DisruptionsAllowed != 0 || len(budget.Status.DisruptedPods) != 1 {
		t.Errorf("budget %+v, %v", budget.Status, err)
	}
	if pod, err = pods.Get(ctx, "web", metav1.GetOptions{}); err != nil || pod.DeletionTimestamp == nil {
		t.Errorf("the pod is not being deleted: %v", err)
	}
}
