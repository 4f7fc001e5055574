package execute

import (
	"context"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

func (e *Executor) createSandbox(ctx context.Context, r Request) error {
	config, err := e.sandboxConfig(r.Pod, r.Action.Attempt)
	if err != nil {
		return err
	}
	handler, err := e.handler(ctx, r.Pod)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return fmt.Errorf("make log folder: %w", err)
	}
	for _, omitted := range container.OmittedDNS(r.Pod, e.Node()) {
		e.Event(r.Pod, podlife.Event{Warning: true, Reason: "DNSConfigForming", Message: omitted})
	}
	_, err = e.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	return err
}

func (e *Executor) sandboxConfig(pod *v1.Pod, attempt uint32) (*runtimeapi.PodSandboxConfig, error) {
	userns, err := e.userns(pod)
	if err != nil {
		return nil, err
	}
	return container.Sandbox(pod, e.Node(), container.SandboxInput{
		Attempt: attempt, CgroupParent: e.Cgroups.Parent(pod), Userns: userns,
	})
}

func (e *Executor) handler(ctx context.Context, pod *v1.Pod) (string, error) {
	if pod.Spec.RuntimeClassName == nil || *pod.Spec.RuntimeClassName == "" {
		return "", nil
	}
	handler, err := e.Objects.RuntimeHandler(ctx, *pod.Spec.RuntimeClassName)
	if err != nil {
		return "", fmt.Errorf("runtime class %s: %w", *pod.Spec.RuntimeClassName, err)
	}
	return handler, nil
}

func (e *Executor) stopSandbox(ctx context.Context, r Request) error {
	_, err := e.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: r.Action.SandboxID})
	return ignoreNotFound(err)
}

func (e *Executor) removeSandbox(ctx context.Context, r Request) error {
	_, err := e.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: r.Action.SandboxID})
	return ignoreNotFound(err)
}
