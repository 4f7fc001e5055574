package app

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/node/shutdown"
)

const (
	// Of a shutdown that somebody asks for where the settings say nothing.
	shutdownGrace, shutdownCriticalGrace = 30 * time.Second, 10 * time.Second
	// tellPatience bounds the wait for the API to know of a pod's end.
	tellPatience = 5 * time.Second
)

func (p *nodeParts) makeShutdown() error {
	m, err := shutdown.New(shutdown.Config{
		Steps: p.settings.Shutdown,
		Pods:  func() []*v1.Pod { return p.agent.Pods() },
		End: func(pod *v1.Pod, grace time.Duration) {
			p.agent.Evict(pod.UID, shutdown.Reason, shutdown.Message, grace)
		},
		Problem: func(err error) { p.registrar.SetProblem("shutdown", err) },
		Told: func(ctx context.Context, uid types.UID) {
			ctx, cancel := context.WithTimeout(ctx, tellPatience)
			defer cancel()
			if err := p.agent.Told(ctx, uid); err != nil {
				p.log.Warn("The API does not know yet how a pod ended", "pod", uid, "err", err)
			}
		},
		Clock: p.hub.clock, Log: p.log,
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shutdown = m
	return err
}

// watchShutdown delays the machine's shutdown for the pods, if the user wants that.
func (p *nodeParts) watchShutdown(ctx context.Context, components *errgroup.Group) {
	needs := shutdown.Total(p.settings.Shutdown)
	if needs == 0 {
		return
	}
	components.Go(func() error {
		return shutdown.Logind{
			Needs:    needs,
			Shutdown: func(ctx context.Context) error { return p.shutdown.Shutdown(ctx) },
			Resume:   p.shutdown.Resume,
			Log:      p.log,
		}.Run(ctx)
	})
}

// shutDown ends the node's pods because a user asks for it.
func (s *server) shutDown(ctx context.Context, asked control.Shutdown) error {
	s.mu.Lock()
	m := s.shutdown
	s.mu.Unlock()
	if m == nil {
		return errors.New("the node is still starting")
	}
	if asked.Grace == 0 && shutdown.Total(s.settings.Shutdown) == 0 {
		asked = control.Shutdown{Grace: shutdownGrace, CriticalGrace: shutdownCriticalGrace}
	}
	steps, errs := shutdown.Steps(asked.Grace, asked.CriticalGrace)
	if len(errs) > 0 {
		return errs.ToAggregate()
	}
	return m.Shutdown(ctx, steps...)
}
