package execute

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

func (e *Executor) mountVolumes(ctx context.Context, r Request) podlife.Outcome {
	err := e.Volumes.Setup(ctx, r.Pod)
	out := done(err)
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			out.Messages = append(out.Messages, message(one))
		}
	}
	return out
}

func (e *Executor) devices(ctx context.Context, pod *v1.Pod, c *v1.Container) ([]*runtimeapi.Device, error) {
	if len(c.VolumeDevices) == 0 {
		return nil, nil
	}
	volumes, ok := e.Volumes.(VolumeDevices)
	if !ok {
		return nil, fmt.Errorf("container %s wants block devices, which this node has none of", c.Name)
	}
	return volumes.Devices(ctx, pod, c)
}
