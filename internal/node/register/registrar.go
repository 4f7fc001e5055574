package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/apimachinery/lease"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
)

// Upstream's intervals.
const (
	checkEvery   = 10 * time.Second
	reportEvery  = 5 * time.Minute
	imagesEvery  = time.Minute
	leaseSeconds = 40
	leaseRenew   = leaseSeconds * time.Second / 4
	firstRetry   = 20 * time.Millisecond
	slowestRetry = 2 * time.Second
)

// Runtime is what the registrar asks of the container runtime.
type Runtime interface {
	Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error)
	Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error)
}

// Images is what the registrar asks of the image service.
type Images interface {
	ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error)
}

// Events records what happened to the node: reason ("NodeReady") and message.
type Events func(node *v1.Node, reason, message string)

// Config says what the node is called and how it is to be reported.
type Config struct {
	Name     string
	Hostname string
	// Addresses are reported before the Hostname; SetAddresses changes them.
	Addresses []v1.NodeAddress
	// Port is where the agent's HTTPS server listens.
	Port        int32
	Version     string
	MaxPods     int
	PodCIDRs    []string
	Labels      map[string]string
	Annotations map[string]string
	Taints      []v1.Taint
	ProviderID  string
	Reserve     Reserve
	// DataDir is on the file system whose size is reported as ephemeral storage.
	DataDir string

	Client  kubernetes.Interface
	Runtime Runtime
	// Images and Events may be nil.
	Images Images
	Events Events
	// Root is the machine's file system; nil is "/".
	Root fs.FS
	Now  func() time.Time
	Log  *slog.Logger
}

// Registrar owns the Node object and the lease of this machine.
type Registrar struct {
	cfg   Config
	nudge chan struct{}
	ready chan struct{}
	once  sync.Once

	mu      sync.Mutex
	state   State
	node    *v1.Node
	machine Machine

	// Only Run's goroutine touches these.
	reported, imagesAt  time.Time
	machineAt           time.Time
	lastReady, leasing  bool
	leaseTasks          sync.WaitGroup
	runtimeVersionKnown bool
}

// New makes a Registrar; the machine is read once, so that Node's capacity is known before anything runs.
func New(cfg Config) (*Registrar, error) {
	if cfg.Name == "" || cfg.Client == nil || cfg.Runtime == nil || cfg.DataDir == "" {
		return nil, errors.New("node registration: Name, Client, Runtime and DataDir are needed")
	}
	if cfg.Hostname == "" {
		cfg.Hostname = cfg.Name
	}
	if cfg.MaxPods == 0 {
		cfg.MaxPods = 110
	}
	if cfg.Root == nil {
		cfg.Root = os.DirFS("/")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	machine, err := ReadMachine(cfg.Root, cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("node registration: %w", err)
	}
	return &Registrar{
		cfg:       cfg,
		nudge:     make(chan struct{}, 1),
		ready:     make(chan struct{}),
		state:     State{Addresses: cfg.Addresses, Problems: map[string]error{}, RuntimeName: "proa"},
		machine:   machine,
		machineAt: cfg.Now(),
	}, nil
}

// Ready is closed once the API has first been told that the node is Ready.
func (r *Registrar) Ready() <-chan struct{} { return r.ready }

// Node is the object as last seen in the API, nil before; it is not to be changed.
func (r *Registrar) Node() *v1.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.node
}

// Own is the node as this machine knows it, asking no API: what it would register.
func (r *Registrar) Own() *v1.Node {
	machine, state := r.snapshot()
	return Desired(r.cfg, machine, state)
}

// Allocatable is what the node offers to pods.
func (r *Registrar) Allocatable() v1.ResourceList {
	r.mu.Lock()
	defer r.mu.Unlock()
	return allocatableOf(capacityOf(r.cfg, r.machine), r.cfg.Reserve)
}

// Nudge makes the registrar look at the runtime and tell the API at once.
func (r *Registrar) Nudge() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// SetProblem reports what keeps the node from being Ready, under a name of the reporter; nil takes it back.
func (r *Registrar) SetProblem(reporter string, err error) {
	r.change(func(s *State) {
		if err == nil {
			delete(s.Problems, reporter)
			return
		}
		s.Problems[reporter] = err
	})
}

// SetPressure reports what the node is short of.
func (r *Registrar) SetPressure(p Pressure) { r.change(func(s *State) { s.Pressure = p }) }

// SetAddresses replaces the node's addresses, as a laptop's change that roams.
func (r *Registrar) SetAddresses(addresses []v1.NodeAddress) {
	r.change(func(s *State) { s.Addresses = addresses })
}

// Annotate sets an annotation of the node, as the machine's address changes.
func (r *Registrar) Annotate(key, value string) {
	r.change(func(s *State) {
		s.Annotations = maps.Clone(s.Annotations)
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[key] = value
	})
}

func (r *Registrar) change(f func(*State)) {
	r.mu.Lock()
	f(&r.state)
	r.mu.Unlock()
	r.Nudge()
}

// Run registers the node and keeps it true until ctx ends.
func (r *Registrar) Run(ctx context.Context) error {
	defer r.leaseTasks.Wait()
	retry := firstRetry
	for {
		r.look(ctx)
		err := r.sync(ctx)
		wait := checkEvery
		if err == nil {
			r.startLease(ctx)
		} else if ctx.Err() == nil {
			r.cfg.Log.Warn("node not reported, will be tried again", "node", r.cfg.Name, "err", err)
		}
		if err == nil && r.lastReady {
			retry = firstRetry
		} else {
			wait, retry = retry, min(retry*2, slowestRetry)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-r.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look asks the runtime how it is.
func (r *Registrar) look(ctx context.Context) {
	status, err := r.cfg.Runtime.Status(ctx, &runtimeapi.StatusRequest{})
	health := runtimeHealth(status.GetStatus(), err)
	var version *runtimeapi.VersionResponse
	if err == nil && !r.runtimeVersionKnown {
		if version, err = r.cfg.Runtime.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
			r.runtimeVersionKnown = true
		}
	}
	if err != nil {
		// Another runtime may answer next time.
		r.runtimeVersionKnown = false
	}
	images := r.listImages(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.state.Problems, "runtime")
	if health != nil {
		r.state.Problems["runtime"] = health
	}
	if err == nil && version != nil {
		r.state.RuntimeName, r.state.RuntimeVersion = version.GetRuntimeName(), version.GetRuntimeVersion()
	}
	if status != nil {
		r.state.Handlers = runtimeHandlers(status.GetRuntimeHandlers())
		strict := status.GetFeatures().GetSupplementalGroupsPolicy()
		r.state.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: &strict}
	}
	if images != nil {
		r.state.Images = images
	}
}

func (r *Registrar) listImages(ctx context.Context) []v1.ContainerImage {
	now := r.cfg.Now()
	if r.cfg.Images == nil || now.Sub(r.imagesAt) < imagesEvery {
		return nil
	}
	list, err := r.cfg.Images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		r.cfg.Log.Warn("images not listed", "err", err)
		return nil
	}
	r.imagesAt = now
	return reportedImages(list.GetImages())
}

func (r *Registrar) snapshot() (Machine, State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Problems = maps.Clone(s.Problems)
	return r.machine, s
}

// reread looks at the machine again: memory and disks are plugged in and out.
func (r *Registrar) reread(now time.Time) {
	if now.Sub(r.machineAt) < reportEvery {
		return
	}
	machine, err := ReadMachine(r.cfg.Root, r.cfg.DataDir)
	if err != nil {
		r.cfg.Log.Warn("machine not read again", "err", err)
		return
	}
	r.machineAt = now
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machine = machine
}

// sync makes the object in the API say what is true now.
func (r *Registrar) sync(ctx context.Context) error {
	now := r.cfg.Now()
	r.reread(now)
	machine, state := r.snapshot()
	desired := Desired(r.cfg, machine, state)
	existing, err := r.getOrCreate(ctx, desired, now)
	if err != nil {
		return err
	}
	merged := Merge(existing, desired, now)
	current, err := r.patch(ctx, existing, merged, now)
	if err != nil {
		return err
	}
	r.note(current)
	return nil
}

// getOrCreate returns the object of the API. At first it creates without asking: on a new cluster that is one request.
func (r *Registrar) getOrCreate(ctx context.Context, desired *v1.Node, now time.Time) (*v1.Node, error) {
	nodes := r.cfg.Client.CoreV1().Nodes()
	if r.Node() != nil {
		existing, err := nodes.Get(ctx, r.cfg.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return existing, err
		}
	}
	blank := desired.DeepCopy()
	blank.Status.Conditions = nil // so that all of them begin now
	created, err := nodes.Create(ctx, Merge(blank, desired, now), metav1.CreateOptions{})
	switch {
	case err == nil:
		r.cfg.Log.Info("node registered", "node", r.cfg.Name)
		return created, nil
	case apierrors.IsAlreadyExists(err), apierrors.IsForbidden(err):
		return nodes.Get(ctx, r.cfg.Name, metav1.GetOptions{})
	}
	return nil, fmt.Errorf("create node %s: %w", r.cfg.Name, err)
}

// patch sends what differs: metadata and spec first, then status; a status that is the same is sent every five minutes.
func (r *Registrar) patch(ctx context.Context, existing, merged *v1.Node, now time.Time) (*v1.Node, error) {
	current := existing
	if !equality.Semantic.DeepEqual(existing.ObjectMeta, merged.ObjectMeta) || !equality.Semantic.DeepEqual(existing.Spec, merged.Spec) {
		body := existing.DeepCopy()
		body.ObjectMeta, body.Spec = merged.ObjectMeta, merged.Spec
		var err error
		if current, err = r.send(ctx, existing, body); err != nil {
			return nil, err
		}
	}
	if sameStatus(&existing.Status, &merged.Status) && now.Sub(r.reported) < reportEvery {
		return current, nil
	}
	body := existing.DeepCopy()
	body.Status = merged.Status
	current, err := r.send(ctx, existing, body, "status")
	if err == nil {
		r.reported = now
	}
	return current, err
}

func (r *Registrar) send(ctx context.Context, from, to *v1.Node, subresource ...string) (*v1.Node, error) {
	before, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(to)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Node{})
	if err == nil {
		patch, err = replaceAddresses(patch, to.Status.Addresses)
	}
	if err != nil {
		return nil, fmt.Errorf("patch of node %s: %w", r.cfg.Name, err)
	}
	node, err := r.cfg.Client.CoreV1().Nodes().Patch(ctx, r.cfg.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresource...)
	if err != nil {
		return nil, fmt.Errorf("patch node %s: %w", r.cfg.Name, err)
	}
	return node, nil
}

// replaceAddresses makes a patch that touches addresses replace them all: the list is merged by type, and a node may have
// several addresses of one type.
func replaceAddresses(patch []byte, addresses []v1.NodeAddress) ([]byte, error) {
	var whole map[string]any
	if err := json.Unmarshal(patch, &whole); err != nil {
		return nil, err
	}
	status, ok := whole["status"].(map[string]any)
	if !ok || status["addresses"] == nil {
		return patch, nil
	}
	list := []any{map[string]string{"$patch": "replace"}}
	for _, address := range addresses {
		list = append(list, address)
	}
	status["addresses"] = list
	delete(status, "$setElementOrder/addresses")
	return json.Marshal(whole)
}

// note remembers the object and tells of transitions.
func (r *Registrar) note(node *v1.Node) {
	r.mu.Lock()
	before := r.node
	r.node = node
	r.mu.Unlock()
	ready := isReady(node)
	if before == nil {
		r.event(node, "Starting", "Starting kubelet.")
	}
	for _, reason := range transitions(before, node) {
		r.event(node, reason, fmt.Sprintf("Node %s status is now: %s", node.Name, reason))
	}
	if before == nil || ready != r.lastReady {
		r.cfg.Log.Info("node status changed", "node", node.Name, "ready", ready)
	}
	r.lastReady = ready
	if ready {
		r.once.Do(func() { close(r.ready) })
	}
}

func (r *Registrar) event(node *v1.Node, reason, message string) {
	if r.cfg.Events != nil {
		r.cfg.Events(node, reason, message)
	}
}

// startLease begins to renew the lease once the node exists, whose UID makes the lease go with it.
func (r *Registrar) startLease(ctx context.Context) {
	if r.leasing {
		return
	}
	r.leasing = true
	controller := lease.NewController(clock.RealClock{}, r.cfg.Client, r.cfg.Name, leaseSeconds, nil, leaseRenew,
		r.cfg.Name, v1.NamespaceNodeLease, r.ownLease)
	r.leaseTasks.Go(func() { controller.Run(ctx) })
}

func (r *Registrar) ownLease(l *coordinationv1.Lease) error {
	node := r.Node()
	if len(l.OwnerReferences) > 0 || node == nil {
		return nil
	}
	l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
	return nil
}
