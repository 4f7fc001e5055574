package execute

import (
	"github.com/proa-project/proa/internal/node/container"
)

func (e *Executor) ensureCgroup(r Request) error {
	return e.Cgroups.Ensure(r.Pod, container.PodResources(r.Pod))
}
