package execute

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

// resize brings running containers to the resources of the pod, and the pod's
// cgroup with them. A cgroup must never have less than one below it: the pod's
// grows first, and shrinks last.
func (e *Executor) resize(ctx context.Context, r Request) error {
	if err := e.memoryCanShrink(ctx, r); err != nil {
		return err
	}
	if err := e.Cgroups.Ensure(r.Pod, roomFor(r)); err != nil {
		return err
	}
	for _, c := range shrinkingFirst(r) {
		_, err := e.Runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: c.ContainerID, Linux: container.Resources(r.Pod, c.spec, e.Node()),
		})
		if err != nil {
			return fmt.Errorf("resize container %s: %w", c.Container, err)
		}
	}
	return e.Cgroups.Ensure(r.Pod, container.PodResources(r.Pod))
}

// ensureCgroup makes the pod's cgroup, of the size that it had if it had one.
func (e *Executor) ensureCgroup(r Request) error {
	return e.Cgroups.Ensure(r.Pod, container.PodResources(before(r)))
}

// before is the pod with the resources that its cgroup has.
func before(r Request) *v1.Pod {
	if r.Action.Sized == nil {
		return r.Pod
	}
	return r.Action.Sized.On(r.Pod)
}

// roomFor the pod as it was and as it is to be.
func roomFor(r Request) *runtimeapi.LinuxContainerResources {
	was, now := container.PodResources(before(r)), container.PodResources(r.Pod)
	return &runtimeapi.LinuxContainerResources{
		CpuPeriod: now.CpuPeriod, CpuShares: max(was.CpuShares, now.CpuShares),
		CpuQuota:           larger(was.CpuQuota, now.CpuQuota),
		MemoryLimitInBytes: larger(was.MemoryLimitInBytes, now.MemoryLimitInBytes),
	}
}

// larger of two limits, zero being none.
func larger(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

type resizing struct {
	podlife.Resizing
	spec *v1.Container
}

// shrinkingFirst: memory that one container gives back may be what another gets.
func shrinkingFirst(r Request) []resizing {
	var out []resizing
	for _, c := range r.Action.Resizes {
		if s, err := spec(r.Pod, c.Container); err == nil {
			out = append(out, resizing{c, s})
		}
	}
	growth := func(c resizing) int64 {
		return c.spec.Resources.Limits.Memory().Value() - c.From.Limits.Memory().Value()
	}
	slices.SortStableFunc(out, func(a, b resizing) int { return cmp.Compare(growth(a), growth(b)) })
	return out
}

// memoryCanShrink: a memory limit below what is in use would at best not be taken,
// at worst kill; so it is refused before anything is changed.
func (e *Executor) memoryCanShrink(ctx context.Context, r Request) error {
	var errs []error
	to := container.PodResources(r.Pod).MemoryLimitInBytes
	if shrinks(container.PodResources(before(r)).MemoryLimitInBytes, to) {
		used, err := e.Cgroups.MemoryUsage(r.Pod)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("unable to read memory usage for pod %q: %w", podName(r.Pod), err))
		case used >= uint64(to):
			errs = append(errs, fmt.Errorf("attempting to set pod memory limit (%d) below current usage (%d)", to, used))
		}
	}
	for _, c := range shrinkingFirst(r) {
		errs = append(errs, e.containerCanShrink(ctx, c))
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		return fmt.Errorf("cannot decrease memory limits: %w", err)
	}
	return nil
}

func (e *Executor) containerCanShrink(ctx context.Context, c resizing) error {
	to := c.spec.Resources.Limits.Memory().Value()
	if !shrinks(c.From.Limits.Memory().Value(), to) {
		return nil
	}
	resp, err := e.Runtime.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{
		Filter: &runtimeapi.ContainerStatsFilter{Id: c.ContainerID},
	})
	if err != nil {
		return fmt.Errorf("unable to read memory usage of container %q: %w", c.Container, err)
	}
	for _, s := range resp.Stats {
		if used := s.GetMemory().GetUsageBytes().GetValue(); used >= uint64(to) {
			return fmt.Errorf("attempting to set container %q memory limit (%d) below current usage (%d)", c.Container, to, used)
		}
	}
	return nil
}

// shrinks tells whether a limit comes down, or comes to be.
func shrinks(from, to int64) bool { return to != 0 && (from == 0 || to < from) }
