package node

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/cri"
)

// errKilled ends a call of an agent that was killed in the midst of it.
var errKilled = errors.New("the agent was killed")

// life is one life of an agent, from its start to its kill. Everything that it does
// to the world goes through a point, where it may be killed: before the deed, or
// after it and before it heard of it. Once dead it does nothing any more.
type life struct {
	ctx  context.Context
	kill context.CancelFunc

	mu    sync.Mutex
	armed string // the point at which it dies
	after int    // when it was passed so often
	dead  bool
	died  chan struct{}
	// busy counts the points passed at one moment: an agent that does things for
	// ever and lets no time pass would never be found out otherwise.
	busy   int
	story  func() string // for that case
	moment time.Time
}

func newLife() *life {
	ctx, kill := context.WithCancel(context.Background())
	return &life{ctx: ctx, kill: kill, died: make(chan struct{})}
}

// arm the life to end at a point, after it was passed n times.
func (l *life) arm(point string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.after = point, n
}

// point is passed, or is where it ends: then the call never returns to the agent
// before that is over.
func (l *life) point(name string) error {
	l.mu.Lock()
	if now := time.Now(); now.Equal(l.moment) {
		if l.busy++; l.busy > 3000 {
			panic("the agent does things for ever, at the same moment: " + name + l.story())
		}
	} else {
		l.moment, l.busy = now, 0
	}
	if name == l.armed {
		if l.after--; l.after < 0 && !l.dead {
			l.dead = true
			close(l.died)
		}
	}
	dead := l.dead
	l.mu.Unlock()
	if !dead {
		return nil
	}
	<-l.ctx.Done()
	return errKilled
}

// deed does something to the world between two points.
func deed[Req, Resp any](ctx context.Context, l *life, name string, req Req, do func(context.Context, Req) (Resp, error)) (Resp, error) {
	var none Resp
	if err := l.point(name + " before"); err != nil {
		return none, err
	}
	resp, err := do(ctx, req)
	if err := l.point(name + " after"); err != nil {
		return none, err
	}
	return resp, err
}

// mortalRuntime is the runtime as an agent sees it that may be killed.
type mortalRuntime struct {
	cri.Runtime
	cri.Events
	life *life
}

func (m mortalRuntime) RunPodSandbox(ctx context.Context, r *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	return deed(ctx, m.life, "RunPodSandbox", r, m.Runtime.RunPodSandbox)
}

func (m mortalRuntime) StopPodSandbox(ctx context.Context, r *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return deed(ctx, m.life, "StopPodSandbox", r, m.Runtime.StopPodSandbox)
}

func (m mortalRuntime) RemovePodSandbox(ctx context.Context, r *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return deed(ctx, m.life, "RemovePodSandbox", r, m.Runtime.RemovePodSandbox)
}

func (m mortalRuntime) CreateContainer(ctx context.Context, r *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	return deed(ctx, m.life, "CreateContainer", r, m.Runtime.CreateContainer)
}

func (m mortalRuntime) StartContainer(ctx context.Context, r *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return deed(ctx, m.life, "StartContainer", r, m.Runtime.StartContainer)
}

func (m mortalRuntime) StopContainer(ctx context.Context, r *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return deed(ctx, m.life, "StopContainer", r, m.Runtime.StopContainer)
}

func (m mortalRuntime) RemoveContainer(ctx context.Context, r *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return deed(ctx, m.life, "RemoveContainer", r, m.Runtime.RemoveContainer)
}

func (m mortalRuntime) UpdateContainerResources(ctx context.Context, r *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return deed(ctx, m.life, "UpdateContainerResources", r, m.Runtime.UpdateContainerResources)
}

func (m mortalRuntime) ExecSync(ctx context.Context, r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return deed(ctx, m.life, "ExecSync", r, m.Runtime.ExecSync)
}

// mortalImages likewise.
type mortalImages struct {
	cri.Images
	life *life
}

func (m mortalImages) PullImage(ctx context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	return deed(ctx, m.life, "PullImage", r, m.Images.PullImage)
}

// mortalVolumes likewise.
type mortalVolumes struct {
	*fakeVolumes
	life *life
}

func (m mortalVolumes) Setup(ctx context.Context, pod *v1.Pod) error {
	_, err := deed(ctx, m.life, "Volumes.Setup", pod, func(ctx context.Context, pod *v1.Pod) (any, error) { return nil, m.fakeVolumes.Setup(ctx, pod) })
	return err
}

func (m mortalVolumes) TearDown(ctx context.Context, uid types.UID) error {
	_, err := deed(ctx, m.life, "Volumes.TearDown", uid, func(ctx context.Context, uid types.UID) (any, error) { return nil, m.fakeVolumes.TearDown(ctx, uid) })
	return err
}

// mortalCgroups likewise.
type mortalCgroups struct {
	*fakeCgroups
	life *life
}

func (m mortalCgroups) Ensure(pod *v1.Pod, r *runtimeapi.LinuxContainerResources) error {
	_, err := deed(context.Background(), m.life, "Cgroups.Ensure", pod, func(_ context.Context, pod *v1.Pod) (any, error) { return nil, m.fakeCgroups.Ensure(pod, r) })
	return err
}

func (m mortalCgroups) Remove(uid types.UID) error {
	_, err := deed(context.Background(), m.life, "Cgroups.Remove", uid, func(_ context.Context, uid types.UID) (any, error) { return nil, m.fakeCgroups.Remove(uid) })
	return err
}

// crashPoints are all of them, and testSimulation asks that each was passed.
var crashPoints = points("RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer",
	"RemoveContainer", "UpdateContainerResources", "ExecSync", "PullImage", "Volumes.Setup", "Volumes.TearDown", "Cgroups.Ensure",
	"Cgroups.Remove", "API patch", "API delete")

// rarePoints are those that few days come to by themselves.
var rarePoints = points("UpdateContainerResources", "ExecSync", "RemoveContainer")

func points(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, n+" before", n+" after")
	}
	return out
}
