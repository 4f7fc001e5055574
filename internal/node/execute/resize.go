package execute

import (
	"context"
	"errors"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
)

// resize sets a running container's limits. The pod's must never be below those
// of its containers: they are set both before, where that can't hurt, and after.
func (e *Executor) resize(ctx context.Context, r Request) error {
	c, err := spec(r.Pod, r.Action.Container)
	if err != nil {
		return err
	}
	limits := container.PodResources(r.Pod)
	before := e.Cgroups.Ensure(r.Pod, limits) // fails if the pod uses more now
	_, err = e.Runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: r.Action.ContainerID, Linux: container.Resources(r.Pod, c, e.Node()),
	})
	if err != nil {
		return errors.Join(before, err)
	}
	return e.Cgroups.Ensure(r.Pod, limits)
}
