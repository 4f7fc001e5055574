package register

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type fakeRuntime struct{ ready atomic.Bool }

func (f *fakeRuntime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "proa", RuntimeVersion: "0.1"}, nil
}

func (f *fakeRuntime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Features: &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true},
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: f.ready.Load()},
		}}}, nil
}

// start runs a registrar until the test ends.
func start(t *testing.T, client *fake.Clientset, runtime Runtime) *Registrar {
	t.Helper()
	r, err := New(Config{
		Name: "n1", Client: client, Runtime: runtime, DataDir: t.TempDir(), Root: machineFiles, Port: 10250, Version: "v1.37.2", Reserve: reserve(),
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.1"}, {Type: v1.NodeInternalIP, Address: "2001:db8::1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// eventually polls the API until the node fits.
func eventually(t *testing.T, client *fake.Clientset, what string, fits func(*v1.Node) bool) *v1.Node {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		node, err := client.CoreV1().Nodes().Get(context.Background(), "n1", metav1.GetOptions{})
		if err == nil && fits(node) {
			return node
		}
	}
	t.Fatalf("never: %s", what)
	return nil
}

func TestNodeBecomesReadyWithItsRuntime(t *testing.T) {
	client, runtime := fake.NewClientset(), &fakeRuntime{}
	r := start(t, client, runtime)
	node := eventually(t, client, "registered", func(*v1.Node) bool { return true })
	if isReady(node) || node.Status.NodeInfo.ContainerRuntimeVersion != "proa://0.1" {
		t.Errorf("before the network: %+v", node.Status)
	}
	for _, c := range node.Status.Conditions {
		if c.LastTransitionTime.IsZero() || c.LastHeartbeatTime.IsZero() {
			t.Errorf("%s has no times", c.Type)
		}
	}
	runtime.ready.Store(true)
	r.Nudge()
	node = eventually(t, client, "ready", isReady)
	if f := node.Status.Features; f == nil || f.SupplementalGroupsPolicy == nil || !*f.SupplementalGroupsPolicy {
		t.Errorf("features of the runtime: %+v", f)
	}
	<-r.Ready()
	r.SetPressure(Pressure{Memory: true})
	eventually(t, client, "pressure", func(n *v1.Node) bool {
		for _, c := range n.Status.Conditions {
			if c.Type == v1.NodeMemoryPressure {
				return c.Status == v1.ConditionTrue
			}
		}
		return false
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		lease, err := client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(context.Background(), "n1", metav1.GetOptions{})
		if err == nil {
			if *lease.Spec.LeaseDurationSeconds != 40 || *lease.Spec.HolderIdentity != "n1" || len(lease.OwnerReferences) != 1 {
				t.Errorf("lease: %+v", lease)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestNodeIsReconciledAndMadeAgain(t *testing.T) {
	client, runtime := fake.NewClientset(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"keep": "me"}}}), &fakeRuntime{}
	runtime.ready.Store(true)
	r := start(t, client, runtime)
	node := eventually(t, client, "ready", isReady)
	if node.Labels["keep"] != "me" || node.Labels[v1.LabelHostname] != "n1" {
		t.Errorf("labels: %v", node.Labels)
	}
	if len(node.Status.Addresses) != 3 {
		t.Errorf("addresses: %v", node.Status.Addresses)
	}
	if err := client.CoreV1().Nodes().Delete(context.Background(), "n1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	<-r.Ready()
	r.SetAddresses([]v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.9"}})
	eventually(t, client, "made again, with the new address", func(n *v1.Node) bool {
		return isReady(n) && len(n.Status.Addresses) == 2 && n.Status.Addresses[0].Address == "192.0.2.9"
	})
}
