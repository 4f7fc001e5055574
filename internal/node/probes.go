package node

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/probe"
)

// ProbesBy makes the agent's Probes of a probe runner: package probe knows nothing
// of the pod machine, and has names of its own for the same things.
func ProbesBy(r *probe.Runner) Probes { return prober{r} }

type prober struct{ runner *probe.Runner }

func (p prober) Run(ctx context.Context, sink func(podlife.ProbeResult)) error {
	return p.runner.Run(ctx, func(r probe.Result) {
		sink(podlife.ProbeResult{
			UID: r.UID, Container: r.Container, ContainerID: r.ContainerID, Kind: podlife.ProbeKind(r.Kind),
			Verdict: podlife.Verdict(r.Verdict), Attempt: podlife.Verdict(r.Attempt), Warning: r.Warning, Output: r.Output,
			Run: r.Run, Threshold: r.Threshold, At: r.At,
		})
	})
}

func (p prober) Sync(pod *v1.Pod, containers []loop.ProbedContainer) {
	list := make([]probe.Container, len(containers))
	for i, c := range containers {
		list[i] = probe.Container(c)
	}
	p.runner.Sync(pod, list)
}
