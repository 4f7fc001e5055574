package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/runtime/crifake"
)

// fixture is a node with a fake runtime and a fake API, on which an agent can be
// started, killed and started again.
type fixture struct {
	t       testing.TB
	runtime *crifake.Runtime
	client  *fake.Clientset
	clock   clock.WithTicker
	policy  podlife.Policy
	volumes *fakeVolumes
	cgroups *fakeCgroups
	probes  *fakeProbes
	dir     string
	source  Source  // of static pods; nil: none
	mirrors Mirrors // nil: none
	alone   bool    // no API server answers

	agent   *Agent
	kill    func()
	watched chan struct{}
}

func newFixture(t testing.TB) *fixture {
	//nolint:staticcheck // the newer fake builds a REST mapper for every write: 20 ms each, of which nothing is tested here
	client := fake.NewSimpleClientset()
	f := &fixture{
		t: t, client: client, clock: clock.RealClock{}, policy: podlife.DefaultPolicy(), dir: t.TempDir(), watched: make(chan struct{}, 100),
		runtime: crifake.New(crifake.Config{}),
		volumes: &fakeVolumes{present: map[types.UID]bool{}, fail: map[types.UID]error{}}, cgroups: &fakeCgroups{present: map[types.UID]bool{}},
		probes: &fakeProbes{pods: map[types.UID][]loop.ProbedContainer{}},
	}
	// The fake API loses what happens between a list and its watch: start waits
	// until the agent watches.
	f.client.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := f.client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		f.watched <- struct{}{}
		return true, w, err
	})
	return f
}

// start runs an agent until kill, or the end of the test.
func (f *fixture) start() {
	f.t.Helper()
	factory := informers.NewSharedInformerFactory(f.client, 0)
	agent, err := New(Config{
		NodeName: "node", Client: f.client, Informers: factory, Runtime: cri.InProcess(f.runtime), Images: f.runtime,
		Volumes: f.volumes, Probes: f.probes, Cgroups: f.cgroups, Source: f.source, Mirrors: f.mirrors,
		Node: f.node, Own: func() *v1.Node { return testNode }, HostIPs: func() []string { return []string{"192.168.1.2"} },
		DataDir: f.dir, ClusterDNS: []string{"10.96.0.10"}, Policy: f.policy, Clock: f.clock,
		Log: slog.New(slog.NewTextHandler(testWriter{f.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	factory.Core().V1().Pods().Informer()
	factory.Core().V1().Services().Informer()
	if !f.alone {
		factory.Start(ctx.Done())
		<-f.watched
	}
	f.agent = agent
	f.kill = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			f.t.Errorf("agent: %v", err)
		}
		factory.Shutdown()
	})
	f.t.Cleanup(f.kill)
}

// node is the API's.
func (f *fixture) node() *v1.Node {
	if f.alone {
		return nil
	}
	return testNode
}

// eventually polls until what is true, and says what was not if it never is.
func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	for _, p := range f.agent.Pods() {
		f.t.Logf("%s: %s", p.Name, describe(p))
		for _, e := range f.agent.Why(p.Namespace, p.Name) {
			f.t.Logf("  %+v", e)
		}
	}
	f.t.Fatalf("never: %s", what)
}

func describe(p *v1.Pod) string {
	out := string(p.Status.Phase)
	for _, c := range p.Status.ContainerStatuses {
		out += fmt.Sprintf(" %s=%+v", c.Name, c.State)
	}
	return out
}

func (f *fixture) create(pod *v1.Pod) {
	f.t.Helper()
	if _, err := f.client.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) get(name string) *v1.Pod {
	pod, err := f.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return pod
}

// delete is what the API server makes of a graceful deletion.
func (f *fixture) delete(name string, grace int64) {
	f.t.Helper()
	pod := f.get(name).DeepCopy()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(metav1.Now()), new(grace)
	if _, err := f.client.CoreV1().Pods("default").Update(context.Background(), pod, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) ready(name string) bool {
	pod := f.get(name)
	if pod == nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func (f *fixture) containers() []*runtimeapi.Container {
	var err error
	for range 5 { // a test may have told the runtime to fail
		var resp *runtimeapi.ListContainersResponse
		if resp, err = f.runtime.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{}); err == nil {
			return resp.Containers
		}
	}
	f.t.Fatal(err)
	return nil
}

// nothingLeft: not a trace of any pod on the node.
func (f *fixture) nothingLeft() bool {
	resp, err := f.runtime.ListPodSandbox(context.Background(), &runtimeapi.ListPodSandboxRequest{})
	return err == nil && len(resp.Items) == 0 && len(f.containers()) == 0 && len(f.volumes.list()) == 0 && len(f.cgroups.list()) == 0
}

func pod(name string, containers ...v1.Container) *v1.Pod {
	for i := range containers {
		if containers[i].Image == "" {
			containers[i].Image = "busybox"
		}
		containers[i].ImagePullPolicy = v1.PullIfNotPresent
		containers[i].TerminationMessagePath = "/dev/termination-log"
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name)},
		Spec: v1.PodSpec{
			NodeName: "node", RestartPolicy: v1.RestartPolicyAlways, Containers: containers, EnableServiceLinks: new(true),
			TerminationGracePeriodSeconds: new(int64(5)), DNSPolicy: v1.DNSClusterFirst,
		},
	}
}

var testNode = &v1.Node{
	ObjectMeta: metav1.ObjectMeta{Name: "node"},
	Status: v1.NodeStatus{
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("4Gi"), v1.ResourcePods: resource.MustParse("110")},
		Capacity:    v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("4Gi")},
	},
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// fakeVolumes has volumes of nothing, which are there or not.
type fakeVolumes struct {
	mu      sync.Mutex
	present map[types.UID]bool
	fail    map[types.UID]error
}

var _ execute.Volumes = (*fakeVolumes)(nil)

func (v *fakeVolumes) Setup(_ context.Context, pod *v1.Pod) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail[pod.UID]; err != nil {
		return err
	}
	v.present[pod.UID] = true
	return nil
}

func (v *fakeVolumes) Mounts(context.Context, *v1.Pod, *v1.Container, map[string]string) ([]*runtimeapi.Mount, error) {
	return nil, nil
}
func (v *fakeVolumes) Path(*v1.Pod, string) (string, error) { return "", nil }

func (v *fakeVolumes) TearDown(_ context.Context, uid types.UID) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.present, uid)
	return nil
}

func (v *fakeVolumes) Present() ([]types.UID, error) { return v.list(), nil }

func (v *fakeVolumes) list() []types.UID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return keys(v.present)
}

type fakeCgroups struct {
	mu      sync.Mutex
	present map[types.UID]bool
}

func (c *fakeCgroups) Parent(pod *v1.Pod) string { return "/pod" + string(pod.UID) }

func (c *fakeCgroups) Ensure(pod *v1.Pod, _ *runtimeapi.LinuxContainerResources) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.present[pod.UID] = true
	return nil
}

func (c *fakeCgroups) MemoryUsage(*v1.Pod) (uint64, error) { return 0, nil }

func (c *fakeCgroups) Remove(uid types.UID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.present, uid)
	return nil
}

func (c *fakeCgroups) list() []types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return keys(c.present)
}

func keys(m map[types.UID]bool) []types.UID {
	var out []types.UID
	for k := range m {
		out = append(out, k)
	}
	return out
}

// fakeProbes sends the results that the test makes up.
type fakeProbes struct {
	mu   sync.Mutex
	pods map[types.UID][]loop.ProbedContainer
	sink func(podlife.ProbeResult)
}

func (p *fakeProbes) Run(ctx context.Context, sink func(podlife.ProbeResult)) error {
	p.mu.Lock()
	p.sink = sink
	p.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (p *fakeProbes) Sync(pod *v1.Pod, list []loop.ProbedContainer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pods[pod.UID] = list
}

// send a result about the only probed container of a pod; false if there is none.
func (p *fakeProbes) send(uid types.UID, kind podlife.ProbeKind, v podlife.Verdict) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.pods[uid]
	if len(list) != 1 || p.sink == nil {
		return false
	}
	p.sink(podlife.ProbeResult{
		UID: uid, Container: list[0].Name, ContainerID: list[0].ID, Kind: kind, Verdict: v, Attempt: v, Output: "made up", Run: 1, Threshold: 1, At: time.Now(),
	})
	return true
}

// sendAny sends a result about the first probed container of a pod.
func (p *fakeProbes) sendAny(uid types.UID, kind podlife.ProbeKind, v podlife.Verdict) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.pods[uid]
	if len(list) == 0 || p.sink == nil {
		return false
	}
	p.sink(podlife.ProbeResult{
		UID: uid, Container: list[0].Name, ContainerID: list[0].ID, Kind: kind, Verdict: v, Attempt: v, Output: "made up", Run: 1, Threshold: 1, At: time.Now(),
	})
	return true
}

// passAll lets every probe pass.
func (p *fakeProbes) passAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, list := range p.pods {
		for _, c := range list {
			for _, kind := range []podlife.ProbeKind{podlife.Startup, podlife.Readiness} {
				p.sink(podlife.ProbeResult{UID: uid, Container: c.Name, ContainerID: c.ID, Kind: kind, Verdict: podlife.Success, Attempt: podlife.Success, Run: 1, Threshold: 1, At: time.Now()})
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
