package execute

import (
	"fmt"

	"github.com/proa-project/proa/internal/kit/tree"
	"github.com/proa-project/proa/internal/node/container"
)

// removeData removes the pod's folder and logs. Something that is still mounted in
// it is an error: to remove it would remove what is mounted.
func (e *Executor) removeData(r Request) error {
	if err := tree.Remove(e.podDir(r.Pod)); err != nil {
		return fmt.Errorf("remove pod folder: %w", err)
	}
	if e.Userns != nil {
		e.Userns.release(r.Pod.UID)
	}
	if err := tree.Remove(container.PodLogDir(e.Node().LogDir, r.Pod)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	return nil
}
