package execute

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	grpcstatus "google.golang.org/grpc/status"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/podlife"
)

// Cgroups keeps the pods' cgroups; *cgroup.Tree is one. All are idempotent.
type Cgroups interface {
	Parent(pod *v1.Pod) string
	Ensure(pod *v1.Pod, r *runtimeapi.LinuxContainerResources) error
	// MemoryUsage of all processes of the pod, in bytes.
	MemoryUsage(pod *v1.Pod) (uint64, error)
	Remove(uid types.UID) error
}

// Objects are what pods refer to in the API. What is not there is an error for
// which apierrors.IsNotFound holds.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
	// Services of all namespaces; an error while they are not known yet.
	Services(ctx context.Context) ([]*v1.Service, error)
	// RuntimeHandler of a RuntimeClass; "" for none.
	RuntimeHandler(ctx context.Context, class string) (string, error)
}

// Config is what actions need.
type Config struct {
	Runtime cri.Runtime
	Images  cri.Images
	Volumes Volumes
	Cgroups Cgroups
	Objects Objects
	// Node is asked at every use: addresses and allocatable change.
	Node func() container.Node
	// Userns gives pods with hostUsers: false their range of IDs; nil refuses them.
	Userns *Userns
	// PodsDir holds a folder a pod, by UID.
	PodsDir string
	// Event records what only an action sees (that a pull begins).
	Event func(*v1.Pod, podlife.Event)
	// Delete removes the pod's API object after its last status was sent.
	Delete func(context.Context, *v1.Pod) error
	HTTP   *http.Client // for hooks
	Clock  clock.Clock
}

// Request is an action with the pod that it is for. The pod's status has its
// current addresses.
type Request struct {
	Pod      *v1.Pod
	Action   podlife.Action
	Observed podlife.Observed
}

// Executor carries out actions. Safe for concurrent use.
type Executor struct{ Config }

// New makes an executor.
func New(c Config) *Executor { return &Executor{c} }

// Do carries out one action; it returns when that is done or ctx ended.
func (e *Executor) Do(ctx context.Context, r Request) podlife.Outcome {
	out := e.do(ctx, r)
	out.Action, out.At = r.Action, e.Clock.Now()
	if out.Failed && ctx.Err() != nil {
		out.Reason = podlife.Cancelled
	}
	return out
}

func (e *Executor) do(ctx context.Context, r Request) podlife.Outcome {
	switch r.Action.Kind {
	case podlife.EnsureCgroup:
		return done(e.ensureCgroup(r))
	case podlife.RemoveCgroup:
		return done(e.Cgroups.Remove(r.Pod.UID))
	case podlife.MountVolumes:
		return e.mountVolumes(ctx, r)
	case podlife.UnmountVolumes:
		return done(e.Volumes.TearDown(ctx, r.Pod.UID))
	case podlife.CreateSandbox:
		return done(e.createSandbox(ctx, r))
	case podlife.StopSandbox:
		return done(e.stopSandbox(ctx, r))
	case podlife.RemoveSandbox:
		return done(e.removeSandbox(ctx, r))
	case podlife.PullImage:
		return e.pullImage(ctx, r)
	case podlife.StartContainer:
		return e.startContainer(ctx, r)
	case podlife.RunHook:
		return done(e.runHook(ctx, r))
	case podlife.ResizePod:
		return done(e.resize(ctx, r))
	case podlife.StopContainer:
		return done(e.stopContainer(ctx, r))
	case podlife.RemoveContainer:
		return done(e.removeContainer(ctx, r))
	case podlife.RemoveData:
		return done(e.removeData(r))
	case podlife.DeleteAPIObject:
		return done(e.Delete(ctx, r.Pod))
	}
	return done(fmt.Errorf("unknown action %s", r.Action.Kind))
}

func done(err error) podlife.Outcome {
	if err == nil {
		return podlife.Outcome{}
	}
	return failed("", err)
}

func failed(reason string, err error) podlife.Outcome {
	return podlife.Outcome{Failed: true, Reason: reason, Message: message(err)}
}

// message is an error as a user should read it: without gRPC's envelope.
func message(err error) string {
	var s interface{ GRPCStatus() *grpcstatus.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Message()
	}
	return err.Error()
}

func (e *Executor) podDir(pod *v1.Pod) string { return filepath.Join(e.PodsDir, string(pod.UID)) }

// spec finds a container of the pod by name.
func spec(pod *v1.Pod, name string) (*v1.Container, error) {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i], nil
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := podlife.EphemeralContainer(&pod.Spec.EphemeralContainers[i]); c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s has no container %q", pod.Namespace, pod.Name, name)
}
