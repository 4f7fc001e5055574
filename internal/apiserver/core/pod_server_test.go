package core_test

import (
	"context"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// TestPodOnServer goes once through a pod's life on the real server, for what only
// server and rules together give: messages as a client gets them, generations,
// subresources, graceful deletion.
func TestPodOnServer(t *testing.T) {
	client := apitest.Start(t).Client
	ctx := context.Background()
	must := func(pod *v1.Pod, err error) *v1.Pod {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods("default")

	twice := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "a", Image: "i"}, {Name: "a"}}}}
	_, err := pods.Create(ctx, twice, metav1.CreateOptions{})
	const refused = `Pod "x" is invalid: [spec.containers[1].image: Required value, spec.containers[1].name: Duplicate value: "a"]`
	if !apierrors.IsInvalid(err) || err.Error() != refused {
		t.Errorf("%v\nwant %s", err, refused)
	}

	half := resource.MustParse("500m")
	pod := must(pods.Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: v1.PodSpec{NodeName: "n1", Containers: []v1.Container{{
			Name: "c", Image: "nginx:1", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: half}},
		}}},
	}, metav1.CreateOptions{}))
	if pod.Generation != 1 || pod.Status.Phase != v1.PodPending || pod.Status.QOSClass != v1.PodQOSBurstable {
		t.Errorf("created: generation %d, status %+v", pod.Generation, pod.Status)
	}

	pod = must(pods.Patch(ctx, "p", types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}`), metav1.PatchOptions{}))
	if pod.Generation != 2 || pod.Spec.Containers[0].Image != "nginx:2" {
		t.Errorf("image: generation %d, %s", pod.Generation, pod.Spec.Containers[0].Image)
	}
	if _, err := pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"spec":{"hostNetwork":true}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("hostNetwork: %v", err)
	}

	debug := pod.DeepCopy()
	debug.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debugger", Image: "busybox"}, TargetContainerName: "c"}}
	pod = must(pods.UpdateEphemeralContainers(ctx, "p", debug, metav1.UpdateOptions{}))
	if pod.Generation != 3 || len(pod.Spec.EphemeralContainers) != 1 {
		t.Errorf("debug: generation %d, %v", pod.Generation, pod.Spec.EphemeralContainers)
	}

	larger := pod.DeepCopy()
	larger.Spec.Containers[0].Resources.Requests[v1.ResourceCPU] = resource.MustParse("3")
	if _, err := pods.UpdateResize(ctx, "p", larger, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), `node "n1" not found`) {
		t.Errorf("resize without a node: %v", err)
	}
	_, err = client.CoreV1().Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Status:     v1.NodeStatus{Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const tooMuch = `pods "p" is forbidden: node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000`
	_, err = pods.UpdateResize(ctx, "p", larger, metav1.UpdateOptions{})
	if err == nil || err.Error() != tooMuch || !apierrors.HasStatusCause(err, "NodeCapacity") {
		t.Errorf("resize beyond the node: %v", err)
	}
	larger.Spec.Containers[0].Resources.Requests[v1.ResourceCPU] = resource.MustParse("1")
	pod = must(pods.UpdateResize(ctx, "p", larger, metav1.UpdateOptions{}))
	if q := pod.Spec.Containers[0].Resources.Requests[v1.ResourceCPU]; pod.Generation != 4 || q.String() != "1" {
		t.Errorf("resize: generation %d, cpu %s", pod.Generation, q.String())
	}

	running := pod.DeepCopy()
	running.Status.Phase, running.Status.ObservedGeneration = v1.PodRunning, 4
	running.Spec.NodeName = "other"
	pod = must(pods.UpdateStatus(ctx, running, metav1.UpdateOptions{}))
	if pod.Generation != 4 || pod.Status.Phase != v1.PodRunning || pod.Spec.NodeName != "n1" {
		t.Errorf("status: generation %d, %s on %s", pod.Generation, pod.Status.Phase, pod.Spec.NodeName)
	}

	if list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1,status.phase=Running"}); err != nil || len(list.Items) != 1 {
		t.Errorf("by node: %v, %v", list, err)
	}
	if err := pods.Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if pod = must(pods.Get(ctx, "p", metav1.GetOptions{})); pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 {
		t.Errorf("deleted: %v, %v", pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds)
	}
}

// TestNodeAndNamespaceOnServer: a node is registered together with its status; a
// namespace has its label and finalizer from the start.
func TestNodeAndNamespaceOnServer(t *testing.T) {
	client := apitest.Start(t).Client.CoreV1()
	ctx := context.Background()
	node, err := client.Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Status:     v1.NodeStatus{Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if cpu := node.Status.Allocatable.Cpu().String(); cpu != "2" {
		t.Errorf("allocatable cpu %s", cpu)
	}
	ns, err := client.Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ns.Labels[v1.LabelMetadataName] != ns.Name || len(ns.Spec.Finalizers) != 1 || ns.Status.Phase != v1.NamespaceActive {
		t.Errorf("%+v", ns)
	}
	if _, err := client.Namespaces().Patch(ctx, ns.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":["plain"]}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a finalizer that nobody owns: %v", err)
	}
}
