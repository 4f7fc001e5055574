package observe

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/cri"
)

// How often everything is listed: with events only as a safety net.
const (
	relistWithEvents    = 10 * time.Second
	relistWithoutEvents = time.Second
	resubscribe         = time.Second
)

// Watch nudges, by UID, every pod of which something in the runtime changed,
// until ctx ends.
func (o *Observer) Watch(ctx context.Context, clk clock.WithTicker, log *slog.Logger, nudge func(types.UID)) {
	period := relistWithoutEvents
	done := make(chan struct{})
	if events, ok := o.runtime.(cri.Events); ok {
		period = relistWithEvents
		go func() {
			defer close(done)
			o.follow(ctx, events, clk, log, nudge)
		}()
	} else {
		close(done)
	}
	o.relistEvery(ctx, period, clk, log, nudge)
	<-done
}

func (o *Observer) follow(ctx context.Context, events cri.Events, clk clock.Clock, log *slog.Logger, nudge func(types.UID)) {
	for ctx.Err() == nil {
		err := events.ContainerEvents(ctx, func(e *runtimeapi.ContainerEventResponse) {
			if uid := e.GetPodSandboxStatus().GetMetadata().GetUid(); uid != "" {
				nudge(types.UID(uid))
			}
		})
		if ctx.Err() != nil {
			return
		}
		log.Warn("container events broke off, the relist goes on", "err", err)
		select {
		case <-ctx.Done():
		case <-clk.After(resubscribe):
		}
	}
}

func (o *Observer) relistEvery(ctx context.Context, period time.Duration, clk clock.WithTicker, log *slog.Logger, nudge func(types.UID)) {
	ticker := clk.NewTicker(period)
	defer ticker.Stop()
	last := map[types.UID]uint64{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		now, err := o.fingerprints(ctx)
		if err != nil {
			log.Warn("relist of the runtime failed", "err", err)
			continue
		}
		for uid, print := range now {
			if last[uid] != print {
				nudge(uid)
			}
		}
		for uid := range last {
			if _, still := now[uid]; !still {
				nudge(uid)
			}
		}
		last = now
	}
}

type items struct {
	sandboxes  []*runtimeapi.PodSandbox
	containers []*runtimeapi.Container
}

// list groups all that the runtime has by pod; what is no pod's is left out.
func (o *Observer) list(ctx context.Context) (map[types.UID]*items, error) {
	sandboxes, err := o.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := o.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := map[types.UID]*items{}
	of := func(uid string) *items {
		if out[types.UID(uid)] == nil {
			out[types.UID(uid)] = &items{}
		}
		return out[types.UID(uid)]
	}
	for _, s := range sandboxes.Items {
		if uid := s.Labels[container.LabelPodUID]; uid != "" {
			of(uid).sandboxes = append(of(uid).sandboxes, s)
		}
	}
	present := map[string]bool{}
	for _, c := range containers.Containers {
		present[c.Id] = true
		if uid := c.Labels[container.LabelPodUID]; uid != "" {
			of(uid).containers = append(of(uid).containers, c)
		}
	}
	o.forgetEnded(present)
	return out, nil
}

// fingerprints tell cheaply whether anything of a pod changed.
func (o *Observer) fingerprints(ctx context.Context) (map[types.UID]uint64, error) {
	list, err := o.list(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[types.UID]uint64, len(list))
	for uid, it := range list {
		var sum uint64 // of parts in any order
		for _, s := range it.sandboxes {
			sum += hash(s.Id, int32(s.State))
		}
		for _, c := range it.containers {
			sum += hash(c.Id, int32(c.State))
		}
		out[uid] = sum
	}
	return out, nil
}

// hash has the state first: what comes last is mixed least, and then two states that
// change at once may leave the sum as it was.
func hash(id string, state int32) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(state)})
	h.Write([]byte(id))
	return h.Sum64()
}
