package observe

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/podlife"
)

// Snapshot is what the runtime had of one pod.
type Snapshot struct {
	// Seq grows with the moment at which the look began.
	Seq             uint64
	UID             types.UID
	Namespace, Name string
	Sandboxes       []podlife.Sandbox  // newest first
	Instances       []podlife.Instance // newest first
}

// Observer looks at one runtime. Safe for concurrent use.
type Observer struct {
	runtime cri.Runtime
	seq     atomic.Uint64

	mu    sync.Mutex
	ended map[string]podlife.Instance // ended instances don't change; by ID
}

// New makes an observer of a runtime.
func New(runtime cri.Runtime) *Observer {
	return &Observer{runtime: runtime, ended: map[string]podlife.Instance{}}
}

// Pod looks at one pod.
func (o *Observer) Pod(ctx context.Context, uid types.UID) (Snapshot, error) {
	snap := Snapshot{Seq: o.seq.Add(1), UID: uid}
	selector := map[string]string{container.LabelPodUID: string(uid)}
	sandboxes, err := o.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{LabelSelector: selector},
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("list sandboxes of pod %s: %w", uid, err)
	}
	containers, err := o.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{
		Filter: &runtimeapi.ContainerFilter{LabelSelector: selector},
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("list containers of pod %s: %w", uid, err)
	}
	if err := o.fill(ctx, &snap, sandboxes.Items, containers.Containers); err != nil {
		return Snapshot{}, err
	}
	return snap, nil
}

// All looks at everything, for a start.
func (o *Observer) All(ctx context.Context) (map[types.UID]Snapshot, error) {
	seq := o.seq.Add(1)
	list, err := o.list(ctx)
	if err != nil {
		return nil, err
	}
	snaps := map[types.UID]Snapshot{}
	for uid, items := range list {
		snap := Snapshot{Seq: seq, UID: uid}
		if err := o.fill(ctx, &snap, items.sandboxes, items.containers); err != nil {
			return nil, err
		}
		snaps[uid] = snap
	}
	return snaps, nil
}

func (o *Observer) fill(ctx context.Context, snap *Snapshot, sandboxes []*runtimeapi.PodSandbox, containers []*runtimeapi.Container) error {
	for _, s := range sandboxes {
		if snap.Name == "" && s.Metadata != nil {
			snap.Namespace, snap.Name = s.Metadata.Namespace, s.Metadata.Name
		}
		sb, err := o.sandbox(ctx, s)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		snap.Sandboxes = append(snap.Sandboxes, sb)
	}
	for _, c := range containers {
		if snap.Name == "" {
			snap.Namespace, snap.Name = c.Labels[container.LabelPodNamespace], c.Labels[container.LabelPodName]
		}
		inst, err := o.instance(ctx, c)
		if gone(err) {
			continue // between the list and the look
		}
		if err != nil {
			return err
		}
		snap.Instances = append(snap.Instances, inst)
	}
	slices.SortStableFunc(snap.Sandboxes, func(a, b podlife.Sandbox) int { return b.CreatedAt.Compare(a.CreatedAt) })
	slices.SortStableFunc(snap.Instances, func(a, b podlife.Instance) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return nil
}

func (o *Observer) sandbox(ctx context.Context, s *runtimeapi.PodSandbox) (podlife.Sandbox, error) {
	resp, err := o.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.Id})
	if err != nil {
		return podlife.Sandbox{}, fmt.Errorf("status of sandbox %s: %w", s.Id, err)
	}
	return sandboxOf(resp.GetStatus()), nil
}

func (o *Observer) instance(ctx context.Context, c *runtimeapi.Container) (podlife.Instance, error) {
	o.mu.Lock()
	inst, ok := o.ended[c.Id]
	o.mu.Unlock()
	if ok {
		return inst, nil
	}
	resp, err := o.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
	if err != nil {
		return podlife.Instance{}, fmt.Errorf("status of container %s: %w", c.Id, err)
	}
	inst = instanceOf(resp.GetStatus(), c)
	if inst.State == podlife.Exited {
		inst.Message = terminationMessage(resp.GetStatus(), inst)
		o.mu.Lock()
		o.ended[c.Id] = inst
		o.mu.Unlock()
	}
	return inst, nil
}

// forgetEnded drops cached ends of containers that are gone.
func (o *Observer) forgetEnded(present map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.ended {
		if !present[id] {
			delete(o.ended, id)
		}
	}
}

func gone(err error) bool {
	return err != nil && grpcstatus.Code(unwrapAll(err)) == codes.NotFound
}

// unwrapAll reaches the gRPC status below our own wrapping.
func unwrapAll(err error) error {
	for {
		if _, ok := err.(interface{ GRPCStatus() *grpcstatus.Status }); ok {
			return err
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}
