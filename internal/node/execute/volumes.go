package execute

import (
	"context"

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
