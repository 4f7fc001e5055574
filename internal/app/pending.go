package app

import (
	"context"
	"time"

	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/proa-project/proa/internal/scheduler"
)

// patience with a scheduler that is asked about a pod.
const patience = 2 * time.Second

// pending is who can tell why a pod has no node. Zero where no scheduler runs.
type pending struct {
	scheduler *scheduler.Scheduler
	pods      corelisters.PodLister
}

func (s *server) setPending(p pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = p
}

// refusals of the nodes to take a pod that has none.
func (s *server) refusals(ctx context.Context, namespace, name string) []scheduler.Refusal {
	s.mu.Lock()
	p := s.pending
	s.mu.Unlock()
	if p.scheduler == nil {
		return nil
	}
	pod, err := p.pods.Pods(namespace).Get(name)
	if err != nil || pod.Spec.NodeName != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p.scheduler.Refusals(ctx, pod)
}
