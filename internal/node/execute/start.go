package execute

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

// startContainer creates and starts an instance, or only starts one that a crash
// left created. It may be given up between these two, never in the midst of one.
func (e *Executor) startContainer(ctx context.Context, r Request) podlife.Outcome {
	whole := context.WithoutCancel(ctx)
	if r.Action.Sized != nil { // the pod's cgroup has another size than this container may need
		if err := e.Cgroups.Ensure(r.Pod, roomFor(r)); err != nil {
			return failed("CreateContainerConfigError", err)
		}
	}
	out := podlife.Outcome{ContainerID: r.Action.ContainerID}
	if out.ContainerID == "" {
		req, err := e.createRequest(ctx, r)
		if err != nil {
			return failed("CreateContainerConfigError", err)
		}
		if err := ctx.Err(); err != nil {
			return failed("CreateContainerError", err)
		}
		resp, err := e.Runtime.CreateContainer(whole, req)
		if err != nil {
			return failed("CreateContainerError", err)
		}
		out.Created, out.ContainerID = true, resp.ContainerId
	}
	err := ctx.Err()
	if err == nil {
		_, err = e.Runtime.StartContainer(whole, &runtimeapi.StartContainerRequest{ContainerId: out.ContainerID})
	}
	if err != nil {
		out.Failed, out.Reason, out.Message = true, "RunContainerError", message(err)
		return out
	}
	out.Started = true
	return out
}

func (e *Executor) createRequest(ctx context.Context, r Request) (*runtimeapi.CreateContainerRequest, error) {
	c, err := spec(r.Pod, r.Action.Container)
	if err != nil {
		return nil, err
	}
	config, err := e.containerConfig(ctx, r, c)
	if err != nil {
		return nil, err
	}
	sandbox, err := e.sandboxConfig(r.Pod, sandboxAttempt(r))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(sandbox.LogDirectory, c.Name), 0o755); err != nil {
		return nil, fmt.Errorf("create container log directory for container %s failed: %w", c.Name, err)
	}
	return &runtimeapi.CreateContainerRequest{PodSandboxId: r.Action.SandboxID, Config: config, SandboxConfig: sandbox}, nil
}

func (e *Executor) containerConfig(ctx context.Context, r Request, c *v1.Container) (*runtimeapi.ContainerConfig, error) {
	node := e.Node()
	env, err := e.environment(ctx, r.Pod, c, node)
	if err != nil {
		return nil, err
	}
	mounts, err := e.mounts(ctx, r, c, env, node)
	if err != nil {
		return nil, err
	}
	user, err := e.imageUser(ctx, r.Action.ImageRef)
	if err != nil {
		return nil, err
	}
	target, err := target(r)
	if err != nil {
		return nil, err
	}
	userns, err := e.userns(r.Pod)
	if err != nil {
		return nil, err
	}
	devices, err := e.devices(ctx, r.Pod, c)
	if err != nil {
		return nil, err
	}
	return container.Config(r.Pod, c, node, container.Input{
		Attempt: int(r.Action.Attempt), Hash: podlife.HashContainer(c), ImageRef: r.Action.ImageRef, ImageUser: user,
		Env: env, Mounts: mounts, Devices: devices, Userns: userns, TargetID: target, Grace: grace(r.Pod),
	})
}

func (e *Executor) environment(ctx context.Context, pod *v1.Pod, c *v1.Container, node container.Node) (*container.Env, error) {
	services, err := e.Objects.Services(ctx)
	if err != nil && !podlife.IsStatic(pod) { // those run without an API server too
		return nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars: %w", err)
	}
	return container.Environment(pod, c, node, container.Sources{
		ConfigMap: func(ns, name string) (*v1.ConfigMap, error) { return e.Objects.ConfigMap(ctx, ns, name) },
		Secret:    func(ns, name string) (*v1.Secret, error) { return e.Objects.Secret(ctx, ns, name) },
		Services:  services,
		Volume:    func(name string) (string, error) { return e.Volumes.Path(pod, name) },
	})
}

func (e *Executor) imageUser(ctx context.Context, ref string) (container.ImageUser, error) {
	resp, err := e.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		return container.ImageUser{}, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	user := container.ImageUser{Name: resp.GetImage().GetUsername()}
	if uid := resp.GetImage().GetUid(); uid != nil {
		user.UID = &uid.Value
	} else if user.Name == "" {
		user.UID = new(int64(0))
	}
	return user, nil
}

func sandboxAttempt(r Request) uint32 {
	for _, s := range r.Observed.Sandboxes {
		if s.ID == r.Action.SandboxID {
			return s.Attempt
		}
	}
	return 0
}

// target is the instance whose processes an ephemeral container wants to see.
func target(r Request) (string, error) {
	for i := range r.Pod.Spec.EphemeralContainers {
		ec := &r.Pod.Spec.EphemeralContainers[i]
		if ec.Name != r.Action.Container || ec.TargetContainerName == "" {
			continue
		}
		for _, inst := range r.Observed.Instances { // newest first
			if inst.Name == ec.TargetContainerName {
				return inst.ID, nil
			}
		}
		return "", fmt.Errorf("unable to find target container %v", ec.TargetContainerName)
	}
	return "", nil
}

func grace(pod *v1.Pod) int64 {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return *s
	}
	return 30
}
