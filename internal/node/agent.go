package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/events"
	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/history"
	"github.com/proa-project/proa/internal/node/httpget"
	"github.com/proa-project/proa/internal/node/journal"
	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
)

// Explanation is what the agent can tell of a pod, for `proa why`.
type Explanation = loop.Explanation

// Agent runs the pods of one node.
type Agent struct {
	cfg      Config
	journal  *journal.Journal
	history  *history.Files
	observer *observe.Observer
	loop     *loop.Loop    // from Run on
	sender   *loop.Sender  // from Run on
	ready    chan struct{} // closed once loop is there
	complete atomic.Bool   // every source of pods has told what it has
}

// New makes an agent; it does nothing before Run.
func New(cfg Config) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.podsDir(), cfg.logDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("node agent: %w", err)
		}
	}
	j, err := journal.Open(cfg.journalDir())
	if err != nil {
		return nil, err
	}
	h, err := history.Open(cfg.historyDir())
	if err != nil {
		return nil, err
	}
	return &Agent{cfg: cfg, journal: j, history: h, observer: observe.New(cfg.Runtime), ready: make(chan struct{})}, nil
}

// Run runs the pods until ctx ends, and returns when nothing of the agent is at
// work any more; the pods go on.
func (a *Agent) Run(ctx context.Context) error {
	kept, err := a.journal.Load()
	if err != nil {
		a.cfg.Log.Warn("part of the journal is lost", "err", err)
	}
	runtimeName, seen, err := a.firstLook(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Events outlive ctx by a moment: those of the last turns are still taken.
	recorder := events.New(context.WithoutCancel(ctx), a.cfg.Client, a.cfg.NodeName)
	defer recorder.Shutdown()
	a.sender = loop.NewSender(ctx, a.cfg.Client, a.cfg.Clock, a.cfg.Log)
	if err := a.compose(ctx, runtimeName, kept, recorder); err != nil {
		return err
	}
	close(a.ready)
	err = a.serve(ctx, seen, kept)
	cancel()
	a.loop.Stop()
	a.sender.Wait()
	return err
}

// firstLook waits for the runtime: before it was seen, nothing is known.
func (a *Agent) firstLook(ctx context.Context) (string, map[types.UID]observe.Snapshot, error) {
	for {
		version, err := a.cfg.Runtime.Version(ctx, &runtimeapi.VersionRequest{})
		if err == nil {
			var seen map[types.UID]observe.Snapshot
			if seen, err = a.observer.All(ctx); err == nil {
				return version.RuntimeName, seen, nil
			}
		}
		a.cfg.Log.Warn("container runtime does not answer, will be tried again", "err", err)
		select {
		case <-ctx.Done():
			return "", nil, ctx.Err()
		case <-a.cfg.Clock.After(time.Second):
		}
	}
}

// compose makes the loop and what it drives.
func (a *Agent) compose(ctx context.Context, runtimeName string, kept map[types.UID]journal.Entry, recorder *events.Recorder) error {
	userns, err := execute.OpenUserns(a.cfg.podsDir())
	if err != nil {
		return err
	}
	services := a.cfg.Informers.Core().V1().Services()
	executor := execute.New(execute.Config{
		Runtime: a.cfg.Runtime, Images: a.cfg.Images, Volumes: a.cfg.Volumes, Cgroups: a.cfg.Cgroups,
		Objects: &objects{client: a.cfg.Client, services: services.Lister(), synced: services.Informer().HasSynced},
		Node:    a.nodeFacts, Userns: userns, PodsDir: a.cfg.podsDir(), Event: recorder.Record, Delete: a.deleteObject,
		HTTP: hookClient(), Clock: a.cfg.Clock,
	})
	stored, err := a.history.Load(a.cfg.Clock.Now().Add(-loop.KeepGone))
	if err != nil {
		a.cfg.Log.Warn("part of the pods' histories is lost", "err", err)
	}
	memories := map[types.UID]podlife.Memory{}
	for uid, e := range kept {
		memories[uid] = e.Memory
	}
	a.loop, err = loop.New(loop.Config{
		Observer: a.observer, Executor: executor, Journal: a.journal, Events: recorder, Statuses: a.sender,
		Histories: a.history, Stored: stored,
		Probes: a.cfg.Probes, Mirrors: a.cfg.Mirrors, Node: a.cfg.Node, Own: a.cfg.Own, Latest: a.latestNode, HostIPs: a.cfg.HostIPs, Guard: a.cfg.Guard, Changed: a.weighBurstable,
		RuntimeName: runtimeName, RecursiveReadOnly: a.recursiveReadOnly(ctx), Policy: a.cfg.Policy, Clock: a.cfg.Clock, Log: a.cfg.Log,
	}, memories)
	return err
}

// recursiveReadOnly asks whether the runtime's default handler can make mounts
// read-only with all below them.
func (a *Agent) recursiveReadOnly(ctx context.Context) bool {
	resp, err := a.cfg.Runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return false // it is only shown, and may be shown wrong until the next start
	}
	for _, h := range resp.GetRuntimeHandlers() {
		if h.Name == "" {
			return h.GetFeatures().GetRecursiveReadOnlyMounts()
		}
	}
	return false
}

// hookClient asks pods' own servers: their certificates are nobody's business,
// and no connection is kept.
func hookClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: httpget.TLS(), DisableKeepAlives: true},
		CheckRedirect: httpget.SameHost,
	}
}

// serve feeds the loop until ctx ends or a part fails.
func (a *Agent) serve(ctx context.Context, seen map[types.UID]observe.Snapshot, kept map[types.UID]journal.Entry) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	informer := a.cfg.Informers.Core().V1().Pods().Informer()
	registration, err := informer.AddEventHandler(a.handler())
	if err != nil {
		return fmt.Errorf("node agent: watch pods: %w", err)
	}
	var wg sync.WaitGroup
	part := func(name string, run func() error) {
		wg.Go(func() {
			if err := run(); ctx.Err() == nil {
				cancel(fmt.Errorf("node agent: %s ended: %w", name, errors.Join(err, errEnded)))
			}
		})
	}
	part("probes", func() error { return a.cfg.Probes.Run(ctx, a.loop.Probed) })
	if v, ok := a.cfg.Volumes.(execute.VolumeChanges); ok {
		part("volumes", func() error { return v.Run(ctx, a.loop.Nudge) })
	}
	static := make(chan struct{})
	if a.cfg.Source != nil {
		part("static pods", func() error { return a.static(ctx, static) })
	} else {
		close(static)
	}
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) && wait(ctx, static) {
			a.endLeftovers(ctx, seen, kept)
			a.endMirrors(ctx)
			a.loop.EndHistories()
			a.complete.Store(true)
		}
	})
	a.observer.Watch(ctx, a.cfg.Clock, a.cfg.Log, func(uid types.UID) { a.changed(ctx, uid) })
	cancel(nil)
	_ = informer.RemoveEventHandler(registration) // only fails for a stopped informer
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

var errEnded = errors.New("it should run as long as the agent")

func wait(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c:
		return true
	}
}

// nodeFacts is what pods may learn of the node, as it is now.
func (a *Agent) nodeFacts() container.Node {
	n := container.Node{
		Name: a.cfg.NodeName, IPs: a.cfg.HostIPs(), ClusterDomain: a.cfg.ClusterDomain, ClusterDNS: a.cfg.ClusterDNS,
		LogDir: a.cfg.logDir(), SeccompDir: a.cfg.SeccompDir, Thermal: thermal(), Limits: a.cfg.Limits,
	}
	if c, ok := a.cfg.Cgroups.(interface{ Features() (v2, swap bool) }); ok {
		n.CgroupV2, n.SwapControl = c.Features()
	}
	if b, err := os.ReadFile(a.cfg.ResolvConf); a.cfg.ResolvConf != "" && err == nil {
		n.Resolver = container.ParseResolver(string(b))
	}
	if b, err := os.ReadFile("/etc/hosts"); err == nil {
		n.HostsFile = string(b)
	}
	node := a.cfg.Node()
	if node == nil && a.cfg.Own != nil {
		node = a.cfg.Own()
	}
	if node != nil {
		n.Allocatable, n.MemoryBytes = node.Status.Allocatable, node.Status.Capacity.Memory().Value()
		if swap := node.Status.NodeInfo.Swap; swap != nil && swap.Capacity != nil {
			n.SwapBytes = *swap.Capacity
		}
	}
	return n
}

// thermal is the CPUs' heat in sysfs; the machine's CPUs do not change.
var thermal = sync.OnceValue(func() []string {
	paths, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle") // the pattern is good
	return paths
})

// deleteObject completes a graceful deletion: the last status first, then this
// very object, no other of its name.
func (a *Agent) deleteObject(ctx context.Context, pod *v1.Pod) error {
	if err := a.sender.Flush(ctx, pod.UID); err != nil {
		return fmt.Errorf("send last status: %w", err)
	}
	err := a.cfg.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// weighBurstable gives the Burstable pods together what they request together.
func (a *Agent) weighBurstable(admitted []*v1.Pod) {
	c, ok := a.cfg.Cgroups.(interface{ SetBurstable(shares int64) error })
	if !ok {
		return
	}
	var shares int64
	for _, pod := range admitted {
		if podlife.QoS(pod) == v1.PodQOSBurstable {
			shares += container.PodResources(pod).CpuShares
		}
	}
	if err := c.SetBurstable(shares); err != nil {
		a.cfg.Log.Warn("weight of Burstable pods not set", "err", err)
	}
}

// lister returns the API's pods of this node.
func (a *Agent) lister() []*v1.Pod {
	all, err := a.cfg.Informers.Core().V1().Pods().Lister().List(labels.Everything())
	if err != nil {
		return nil
	}
	var out []*v1.Pod
	for _, pod := range all {
		if pod.Spec.NodeName == a.cfg.NodeName {
			out = append(out, pod)
		}
	}
	return out
}

// Pods returns the pods of this node, static ones too, with their newest status.
// They are not to be changed. None before Run.
func (a *Agent) Pods() []*v1.Pod {
	if !a.running() {
		return nil
	}
	return a.loop.Pods()
}

// Pod finds one of them.
func (a *Agent) Pod(namespace, name string) (*v1.Pod, bool) {
	for _, pod := range a.Pods() {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

// Why explains the pods of a name: what they do, wait for, and did; those that are
// gone for an hour.
func (a *Agent) Why(namespace, name string) []Explanation {
	if !a.running() {
		return nil
	}
	return a.loop.Why(namespace, name)
}

// Evict ends a pod as Failed, for the node's sake.
func (a *Agent) Evict(uid types.UID, reason, message string, grace time.Duration) {
	if a.running() {
		a.loop.Evict(uid, podlife.Want{Reason: reason, Message: message, Grace: grace})
	}
}

// Told returns when the API has the newest status of the pod, or ctx ended.
func (a *Agent) Told(ctx context.Context, uid types.UID) error {
	if !a.running() {
		return nil
	}
	return a.sender.Flush(ctx, uid)
}

func (a *Agent) running() bool {
	select {
	case <-a.ready:
		return true
	default:
		return false
	}
}
