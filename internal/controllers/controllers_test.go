package controllers_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/apiserver/apitest"
	"github.com/proa-project/proa/internal/controllers"
)

const ns = "default"

// cluster is a real API server with all controllers, and no node: the tests play it.
type cluster struct {
	*apitest.Server
	t *testing.T
}

func start(t *testing.T) *cluster {
	t.Helper()
	s := apitest.Start(t)
	objects, err := metadata.NewForConfig(s.LoopbackConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: s.Client.CoreV1().Events("")})
	factory, startInformers := s.Informers(t)
	loops, err := controllers.All(controllers.Deps{
		Client: s.Client, Metadata: objects, Informers: factory, Clock: clock.RealClock{}, CA: s.CA,
		Recorder: func(component string) record.EventRecorder {
			return events.NewRecorder(scheme.Scheme, v1.EventSource{Component: component})
		},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	startInformers()
	done := make(chan error, len(loops))
	for _, l := range loops {
		go func() { done <- l.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range loops {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		events.Shutdown()
	})
	c := &cluster{s, t}
	c.must(s.Client.CoreV1().Nodes().Create(t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}))
	c.eventually("the default service account", func() bool {
		_, err := s.Client.CoreV1().ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return c
}

func (c *cluster) must(_ any, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// eventually polls: what is waited for happens in other goroutines.
func (c *cluster) eventually(what string, done func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s; pods %v, events %q", what, c.shown(), c.events())
		}
	}
}

func (c *cluster) pods() []v1.Pod {
	c.t.Helper()
	list, err := c.Client.CoreV1().Pods(ns).List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c *cluster) shown() (shown []string) {
	for _, p := range c.pods() {
		shown = append(shown, fmt.Sprintf("%s %s deleted=%v %v", p.Name, p.Status.Phase, p.DeletionTimestamp != nil, p.Finalizers))
	}
	return shown
}

func (c *cluster) events() (messages []string) {
	list, err := c.Client.CoreV1().Events(ns).List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range list.Items {
		messages = append(messages, e.Reason+": "+e.Message)
	}
	return messages
}

func (c *cluster) sees(event string) {
	c.t.Helper()
	c.eventually("event "+event, func() bool {
		return slices.ContainsFunc(c.events(), func(e string) bool { return strings.HasPrefix(e, event) })
	})
}

// node plays scheduler and node agent once: pods get a node and run, deleted
// ones are gone.
func (c *cluster) node() {
	c.t.Helper()
	ctx, pods := c.t.Context(), c.Client.CoreV1().Pods(ns)
	for i, p := range c.pods() {
		switch {
		case p.DeletionTimestamp != nil && p.Spec.NodeName != "":
			_ = pods.Delete(ctx, p.Name, *metav1.NewDeleteOptions(0))
		case p.DeletionTimestamp != nil || p.Status.Phase != v1.PodPending:
		case p.Spec.NodeName == "":
			_ = pods.Bind(ctx, &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Target: v1.ObjectReference{Kind: "Node", Name: "n"}}, metav1.CreateOptions{})
		default:
			ip := fmt.Sprintf("10.9.%d.%d", p.CreationTimestamp.Second(), i+1)
			p.Status = v1.PodStatus{
				Phase: v1.PodRunning, PodIP: ip, PodIPs: []v1.PodIP{{IP: ip}},
				Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now()}},
			}
			_, _ = pods.UpdateStatus(ctx, &p, metav1.UpdateOptions{}) // again in the next round
		}
	}
}

// running lets the node work until something is so.
func (c *cluster) running(what string, done func() bool) {
	c.t.Helper()
	c.eventually(what, func() bool { c.node(); return done() })
}

func (c *cluster) end(p v1.Pod, phase v1.PodPhase) {
	c.t.Helper()
	p.Status.Phase = phase
	c.must(c.Client.CoreV1().Pods(ns).UpdateStatus(c.t.Context(), &p, metav1.UpdateOptions{}))
}

// kubectl runs the stock client.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), "kubectl", append([]string{"--kubeconfig", c.Kubeconfig, "--cache-dir", c.Dir}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func template(image string) v1.PodTemplateSpec {
	return v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: image, Ports: []v1.ContainerPort{{ContainerPort: 80}}}}},
	}
}

func ptr[T any](v T) *T { return &v }

func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}
}

func TestADeploymentRollsAndItsServiceFollows(t *testing.T) {
	c := start(t)
	ctx, apps, core := t.Context(), c.Client.AppsV1(), c.Client.CoreV1()
	c.must(core.Services(ns).Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s"},
		Spec:       v1.ServiceSpec{Selector: map[string]string{"app": "a"}, Ports: []v1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{}))
	c.must(apps.Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d"},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr(int32(3)), Selector: selector(), Template: template("v1")},
	}, metav1.CreateOptions{}))
	rolledOut := func() bool {
		d, err := apps.Deployments(ns).Get(ctx, "d", metav1.GetOptions{})
		return err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 3 && d.Status.Replicas == 3 && d.Status.AvailableReplicas == 3
	}
	c.running("rolled out", rolledOut)
	c.sees("ScalingReplicaSet: Scaled up replica set d-")
	c.sees("SuccessfulCreate: Created pod: d-")
	addresses := func() (n int) {
		e, err := core.Endpoints(ns).Get(ctx, "s", metav1.GetOptions{})
		if err != nil {
			return 0
		}
		for _, s := range e.Subsets {
			n += len(s.Addresses)
		}
		slices, err := c.Client.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=s"})
		if err != nil || len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != n {
			return 0
		}
		return n
	}
	c.eventually("three endpoints", func() bool { return addresses() == 3 })

	d, err := apps.Deployments(ns).Get(ctx, "d", metav1.GetOptions{})
	c.must(d, err)
	d.Spec.Template = template("v2")
	c.must(apps.Deployments(ns).Update(ctx, d, metav1.UpdateOptions{}))
	c.running("rolled out again", func() bool {
		pods := c.pods()
		return rolledOut() && len(pods) == 3 && !slices.ContainsFunc(pods, func(p v1.Pod) bool { return p.Spec.Containers[0].Image != "v2" })
	})
	d, err = apps.Deployments(ns).Get(ctx, "d", metav1.GetOptions{})
	c.must(d, err)
	if d.Annotations["deployment.kubernetes.io/revision"] != "2" {
		t.Errorf("annotations %v", d.Annotations)
	}
	if got := c.kubectl("rollout", "status", "deployment/d"); !strings.Contains(got, "successfully rolled out") {
		t.Errorf("rollout status: %s", got)
	}
	if got := strings.Fields(c.kubectl("rollout", "history", "deployment/d")); !slices.Equal(got, strings.Fields("deployment.apps/d REVISION CHANGE-CAUSE 1 <none> 2 <none>")) {
		t.Errorf("rollout history: %q", got)
	}
	c.kubectl("rollout", "undo", "deployment/d")
	c.running("rolled back", func() bool {
		pods := c.pods()
		return rolledOut() && len(pods) == 3 && !slices.ContainsFunc(pods, func(p v1.Pod) bool { return p.Spec.Containers[0].Image != "v1" })
	})
	c.eventually("three endpoints", func() bool { return addresses() == 3 })

	c.must(nil, apps.Deployments(ns).Delete(ctx, "d", metav1.DeleteOptions{PropagationPolicy: ptr(metav1.DeletePropagationForeground)}))
	c.running("all gone", func() bool {
		_, err := apps.Deployments(ns).Get(ctx, "d", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if pods := c.shown(); len(pods) > 0 {
		t.Errorf("foreground deletion ended before its pods: %v", pods)
	}
}

func TestGarbageIsCollectedAsAsked(t *testing.T) {
	c := start(t)
	ctx, maps := t.Context(), c.Client.CoreV1().ConfigMaps(ns)
	create := func(name string, owners ...*v1.ConfigMap) *v1.ConfigMap {
		m := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		for _, o := range owners {
			m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: o.Name, UID: o.UID, BlockOwnerDeletion: ptr(true)})
		}
		m, err := maps.Create(ctx, m, metav1.CreateOptions{})
		c.must(m, err)
		return m
	}
	gone := func(name string) func() bool {
		return func() bool { _, err := maps.Get(ctx, name, metav1.GetOptions{}); return apierrors.IsNotFound(err) }
	}
	remove := func(name string, p metav1.DeletionPropagation) {
		c.must(nil, maps.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &p}))
	}
	refs := func(name string) int {
		m, err := maps.Get(ctx, name, metav1.GetOptions{})
		c.must(m, err)
		return len(m.OwnerReferences)
	}

	// A chain follows its head; one with another owner stays and loses a reference.
	a, other := create("a"), create("other")
	b := create("b", a)
	create("b2", b)
	create("shared", a, other)
	remove("a", metav1.DeletePropagationBackground)
	c.eventually("the chain is gone", func() bool { return gone("b")() && gone("b2")() })
	c.eventually("one reference is left", func() bool { return refs("shared") == 1 })

	// Foreground: the owner goes last.
	f := create("f")
	g := create("g", f)
	h := create("h", g)
	h.Finalizers = []string{"example.com/hold"}
	c.must(maps.Update(ctx, h, metav1.UpdateOptions{}))
	remove("f", metav1.DeletePropagationForeground)
	c.eventually("the last dependent is deleted", func() bool {
		h, err := maps.Get(ctx, "h", metav1.GetOptions{})
		return err == nil && h.DeletionTimestamp != nil
	})
	if gone("f")() || gone("g")() {
		t.Fatal("an owner went before its dependents")
	}
	c.must(maps.Patch(ctx, "h", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}))
	c.eventually("the owner is gone", gone("f"))

	// Orphan: dependents stay, free.
	o := create("o")
	create("p", o)
	remove("o", metav1.DeletePropagationOrphan)
	c.eventually("the owner is gone", gone("o"))
	if refs("p") != 0 {
		t.Error("an orphan still refers to its owner")
	}

	// An owner that never was.
	create("q", &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "nobody", UID: "1-2-3"}})
	c.eventually("a dependent of nobody is gone", gone("q"))
}

func TestReplicasAreKeptAdoptedAndScaled(t *testing.T) {
	c := start(t)
	ctx, pods := t.Context(), c.Client.CoreV1().Pods(ns)
	orphan := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orphan", Labels: map[string]string{"app": "a"}}, Spec: template("v").Spec}
	c.must(pods.Create(ctx, orphan, metav1.CreateOptions{}))
	rcs := c.Client.CoreV1().ReplicationControllers(ns)
	c.must(rcs.Create(ctx, &v1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Name: "r"},
		Spec:       v1.ReplicationControllerSpec{Replicas: ptr(int32(3)), Selector: map[string]string{"app": "a"}, Template: ptr(template("v"))},
	}, metav1.CreateOptions{}))
	available := func(n int32) func() bool {
		return func() bool {
			rc, err := rcs.Get(ctx, "r", metav1.GetOptions{})
			return err == nil && rc.Status.AvailableReplicas == n && rc.Status.Replicas == n
		}
	}
	c.running("three pods", available(3))
	if n := len(c.pods()); n != 3 {
		t.Fatalf("%d pods, the orphan among them: %v", n, c.shown())
	}
	if _, err := pods.Patch(ctx, "orphan", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.running("the one that was let go is replaced", func() bool { return available(3)() && len(c.pods()) == 4 })
	c.eventually("released", func() bool {
		p, err := pods.Get(ctx, "orphan", metav1.GetOptions{})
		return err == nil && len(p.OwnerReferences) == 0
	})
	c.must(rcs.Patch(ctx, "r", types.MergePatchType, []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{}))
	c.running("one pod", available(1))
	c.sees("SuccessfulDelete: Deleted pod: r-")
}

func TestAJobIsCountedToItsEndAndCleanedUp(t *testing.T) {
	c := start(t)
	ctx, jobs := t.Context(), c.Client.BatchV1().Jobs(ns)
	tmpl := template("v")
	tmpl.Labels, tmpl.Spec.RestartPolicy = nil, v1.RestartPolicyNever
	c.must(jobs.Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j"},
		Spec: batchv1.JobSpec{
			Parallelism: ptr(int32(2)), Completions: ptr(int32(3)), CompletionMode: ptr(batchv1.IndexedCompletion),
			TTLSecondsAfterFinished: ptr(int32(3)), Template: tmpl,
		},
	}, metav1.CreateOptions{}))
	ended := 0
	c.running("complete", func() bool {
		for _, p := range c.pods() {
			if p.Status.Phase == v1.PodRunning && p.DeletionTimestamp == nil {
				c.end(p, v1.PodSucceeded)
				ended++
			}
		}
		j, err := jobs.Get(ctx, "j", metav1.GetOptions{})
		return err == nil && j.Status.CompletionTime != nil && j.Status.CompletedIndexes == "0-2" && j.Status.Succeeded == 3
	})
	if ended != 3 {
		t.Errorf("%d pods for three completions", ended)
	}
	c.sees("Completed: Job completed")
	c.running("the job is gone after its time to live, with its pods", func() bool {
		_, err := jobs.Get(ctx, "j", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && len(c.pods()) == 0
	})
}

func TestACronJobStartsJobs(t *testing.T) {
	c := start(t)
	ctx, batch := t.Context(), c.Client.BatchV1()
	tmpl := template("v")
	tmpl.Labels, tmpl.Spec.RestartPolicy = nil, v1.RestartPolicyNever
	c.must(batch.CronJobs(ns).Create(ctx, &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "c"},
		Spec:       batchv1.CronJobSpec{Schedule: "@every 1s", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: tmpl}}},
	}, metav1.CreateOptions{}))
	c.eventually("a job", func() bool {
		cj, err := batch.CronJobs(ns).Get(ctx, "c", metav1.GetOptions{})
		return err == nil && len(cj.Status.Active) > 0 && cj.Status.LastScheduleTime != nil
	})
	c.sees("SuccessfulCreate: Created job c-")
}

func TestADaemonSetIsOnEveryNodeAndRolls(t *testing.T) {
	c := start(t)
	ctx, sets, nodes := t.Context(), c.Client.AppsV1().DaemonSets(ns), c.Client.CoreV1().Nodes()
	c.must(nodes.Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "tainted"}, Spec: v1.NodeSpec{Taints: []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}}}}, metav1.CreateOptions{}))
	c.must(sets.Create(ctx, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DaemonSetSpec{Selector: selector(), Template: template("v1")}}, metav1.CreateOptions{}))
	rolled := func(image string) func() bool {
		return func() bool {
			ds, err := sets.Get(ctx, "d", metav1.GetOptions{})
			pods := c.pods()
			return err == nil && ds.Status.ObservedGeneration == ds.Generation && ds.Status.NumberAvailable == 1 && ds.Status.UpdatedNumberScheduled == 1 && ds.Status.DesiredNumberScheduled == 1 &&
				len(pods) == 1 && pods[0].Spec.Containers[0].Image == image
		}
	}
	ready := func() { // the nodes are ready, so that nothing repels pods
		for _, name := range []string{"n", "tainted"} {
			c.must(nodes.Patch(ctx, name, types.MergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status"))
		}
	}
	ready()
	c.running("one pod on the one node that it fits", rolled("v1"))
	c.must(sets.Patch(ctx, "d", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}}`), metav1.PatchOptions{}))
	c.running("rolled", rolled("v2"))
	c.kubectl("rollout", "undo", "daemonset/d")
	c.running("rolled back", rolled("v1"))
	if got := c.kubectl("rollout", "status", "daemonset/d"); !strings.Contains(got, "successfully rolled out") {
		t.Errorf("rollout status: %s", got)
	}
	revisions, err := c.Client.AppsV1().ControllerRevisions(ns).List(ctx, metav1.ListOptions{})
	c.must(revisions, err)
	if len(revisions.Items) != 2 {
		t.Errorf("%d revisions", len(revisions.Items))
	}
}

func TestAStatefulSetStartsInOrderWithItsClaims(t *testing.T) {
	c := start(t)
	ctx, sets, core := t.Context(), c.Client.AppsV1().StatefulSets(ns), c.Client.CoreV1()
	claim := v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: v1.PersistentVolumeClaimSpec{
		AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
		Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}},
	}}
	c.must(sets.Create(ctx, &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: appsv1.StatefulSetSpec{
		Replicas: ptr(int32(2)), ServiceName: "s", Selector: selector(), Template: template("v1"), VolumeClaimTemplates: []v1.PersistentVolumeClaim{claim},
		PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: "Delete", WhenScaled: "Delete"},
	}}, metav1.CreateOptions{}))
	settled := func(n int32, image string) func() bool {
		return func() bool {
			s, err := sets.Get(ctx, "s", metav1.GetOptions{})
			pods := c.pods()
			return err == nil && s.Status.ObservedGeneration == s.Generation && s.Status.Replicas == n && s.Status.AvailableReplicas == n && s.Status.UpdatedReplicas == n && s.Status.CurrentRevision == s.Status.UpdateRevision &&
				len(pods) == int(n) && !slices.ContainsFunc(pods, func(p v1.Pod) bool { return p.Spec.Containers[0].Image != image })
		}
	}
	c.running("two pods", settled(2, "v1"))
	first, err := core.Pods(ns).Get(ctx, "s-0", metav1.GetOptions{})
	c.must(first, err)
	second, err := core.Pods(ns).Get(ctx, "s-1", metav1.GetOptions{})
	c.must(second, err)
	if second.CreationTimestamp.Before(&first.CreationTimestamp) {
		t.Error("the second came first")
	}
	c.must(core.PersistentVolumeClaims(ns).Get(ctx, "data-s-1", metav1.GetOptions{}))
	c.must(sets.Patch(ctx, "s", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"v2"}]}}}}`), metav1.PatchOptions{}))
	c.running("updated", settled(2, "v2"))
	c.must(sets.Patch(ctx, "s", types.MergePatchType, []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{}))
	c.running("one pod", settled(1, "v2"))
	c.eventually("the claim went with its pod", func() bool {
		claim, err := core.PersistentVolumeClaims(ns).Get(ctx, "data-s-1", metav1.GetOptions{})
		return apierrors.IsNotFound(err) || err == nil && claim.DeletionTimestamp != nil
	})
	c.sees("SuccessfulCreate: Create Pod s-0 in StatefulSet s successful")
}

func TestQuotasAndBudgetsAreSummedUp(t *testing.T) {
	c := start(t)
	ctx, core := t.Context(), c.Client.CoreV1()
	c.must(core.ResourceQuotas(ns).Create(ctx, &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: v1.ResourceQuotaSpec{Hard: v1.ResourceList{
		"pods": resource.MustParse("9"), "secrets": resource.MustParse("9"), "configmaps": resource.MustParse("9"), "count/roles.rbac.authorization.k8s.io": resource.MustParse("9"), "services.nodeports": resource.MustParse("9"),
	}}}, metav1.CreateOptions{}))
	c.must(c.Client.PolicyV1().PodDisruptionBudgets(ns).Create(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: policyv1.PodDisruptionBudgetSpec{
		Selector: selector(), MaxUnavailable: ptr(intstr.FromString("50%")),
	}}, metav1.CreateOptions{}))
	c.must(c.Client.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(2)), Selector: selector(), Template: template("v1")},
	}, metav1.CreateOptions{}))
	used := func(name v1.ResourceName) string {
		q, err := core.ResourceQuotas(ns).Get(ctx, "q", metav1.GetOptions{})
		c.must(q, err)
		n := q.Status.Used[name]
		return n.String()
	}
	c.running("two pods", func() bool { return used("pods") == "2" })
	if used("services.nodeports") != "0" || used("count/roles.rbac.authorization.k8s.io") != "0" || used("configmaps") != "1" {
		t.Errorf("nodeports %s, roles %s, config maps %s", used("services.nodeports"), used("count/roles.rbac.authorization.k8s.io"), used("configmaps"))
	}
	c.running("one disruption allowed", func() bool {
		b, err := c.Client.PolicyV1().PodDisruptionBudgets(ns).Get(ctx, "b", metav1.GetOptions{})
		return err == nil && b.Status.DisruptionsAllowed == 1 && b.Status.ExpectedPods == 2 && b.Status.DesiredHealthy == 1 && b.Status.CurrentHealthy == 2
	})
	c.must(core.ConfigMaps(ns).Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{}))
	c.eventually("one config map more", func() bool { return used("configmaps") == "2" })
}

func TestPodsLeaveATaintedNode(t *testing.T) {
	c := start(t)
	ctx, core := t.Context(), c.Client.CoreV1()
	pod := func(name string, seconds *int64) {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: template("v").Spec}
		p.Spec.NodeName = "n"
		if seconds != nil {
			p.Spec.Tolerations = []v1.Toleration{{Key: "k", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute, TolerationSeconds: seconds}}
		}
		c.must(core.Pods(ns).Create(ctx, p, metav1.CreateOptions{}))
	}
	pod("at-once", nil)
	pod("soon", ptr(int64(1)))
	pod("later", ptr(int64(3600)))
	c.must(core.Nodes().Patch(ctx, "n", types.StrategicMergePatchType, []byte(`{"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}`), metav1.PatchOptions{}))
	c.running("two have left", func() bool { return len(c.pods()) == 1 })
	if left := c.pods()[0]; left.Name != "later" || left.DeletionTimestamp != nil {
		t.Errorf("left: %v", c.shown())
	}
	c.sees("TaintManagerEviction: Marking for deletion Pod default/at-once")
}

func TestTokensGoWithTheirAccount(t *testing.T) {
	c := start(t)
	ctx, core := t.Context(), c.Client.CoreV1()
	account, err := core.ServiceAccounts(ns).Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	c.must(account, err)
	for _, name := range []string{"a", "default"} {
		c.must(core.Secrets(ns).Create(ctx, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1.ServiceAccountNameKey: name}}, Type: v1.SecretTypeServiceAccountToken}, metav1.CreateOptions{}))
	}
	c.must(nil, core.ServiceAccounts(ns).Delete(ctx, "a", metav1.DeleteOptions{}))
	c.eventually("its secret is gone", func() bool {
		_, err := core.Secrets(ns).Get(ctx, "a", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	c.must(core.Secrets(ns).Get(ctx, "default", metav1.GetOptions{}))
}

func TestCustomObjectsAreCollectedToo(t *testing.T) {
	c := start(t)
	ctx, maps := t.Context(), c.Client.CoreV1().ConfigMaps(ns)
	apply := func(manifest string) {
		t.Helper()
		file := filepath.Join(c.Dir, "manifest.yaml")
		if err := os.WriteFile(file, []byte("# YAML\n"+manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		c.kubectl("apply", "-f", file)
	}
	apply(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: boats.example.com}, spec: {
		group: example.com, scope: Namespaced, names: {plural: boats, singular: boat, kind: Boat}, versions: [
			{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`)
	c.kubectl("wait", "--for=condition=Established", "crd/boats.example.com")
	var boat string
	c.eventually("boats are served", func() bool {
		return exec.CommandContext(ctx, "kubectl", "--kubeconfig", c.Kubeconfig, "--cache-dir", c.Dir, "get", "boats").Run() == nil
	})
	apply(`{apiVersion: example.com/v1, kind: Boat, metadata: {name: b}}`)
	boat = c.kubectl("get", "boat", "b", "-o", "jsonpath={.metadata.uid}")
	c.must(maps.Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "sail", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "example.com/v1", Kind: "Boat", Name: "b", UID: types.UID(boat)}}}}, metav1.CreateOptions{}))
	m, err := maps.Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "yard"}}, metav1.CreateOptions{})
	c.must(m, err)
	apply(fmt.Sprintf(`{apiVersion: example.com/v1, kind: Boat, metadata: {name: d, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: yard, uid: %s}]}}`, m.UID))
	c.kubectl("delete", "boat", "b", "--wait=false")
	c.must(nil, maps.Delete(ctx, "yard", metav1.DeleteOptions{}))
	c.eventually("the sail follows its boat, the boat its yard", func() bool {
		_, err := maps.Get(ctx, "sail", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && strings.Contains(c.kubectl("get", "boats"), "No resources found")
	})
}

func TestEndpointsByHandAreMirrored(t *testing.T) {
	c := start(t)
	ctx, core := t.Context(), c.Client.CoreV1()
	c.must(core.Endpoints(ns).Create(ctx, &v1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Subsets: []v1.EndpointSubset{
		{Addresses: []v1.EndpointAddress{{IP: "10.1.2.3"}}, Ports: []v1.EndpointPort{{Port: 80}}}}}, metav1.CreateOptions{}))
	c.must(core.Services(ns).Create(ctx, &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{}))
	mirrored := func() int {
		list, err := c.Client.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=m"})
		c.must(list, err)
		return len(list.Items)
	}
	c.eventually("one slice", func() bool { return mirrored() == 1 })
	c.must(nil, core.Endpoints(ns).Delete(ctx, "m", metav1.DeleteOptions{}))
	c.eventually("no slice", func() bool { return mirrored() == 0 })
}
