package usage

import (
	"context"
	"sync"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const (
	// An answer is given again for this long: several who ask at once cause one look.
	freshFor = 2 * time.Second
	// Two looks are at least and at most so far apart.
	shortest = time.Second
	longest  = time.Minute
)

// Source looks at a node.
type Source func(ctx context.Context, node string) (*statsapi.Summary, error)

// sampler keeps a node's last look and the last answer.
type sampler struct {
	source Source
	node   string

	mu     sync.Mutex
	last   *statsapi.Summary
	lastAt time.Time
	answer Used
}

func (s *sampler) used(ctx context.Context) (Used, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.answer.At) < freshFor {
		return s.answer, nil
	}
	if s.last == nil || now.Sub(s.lastAt) > longest {
		if err := s.look(ctx); err != nil {
			return Used{}, err
		}
	}
	if left := shortest - time.Since(s.lastAt); left > 0 {
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return Used{}, ctx.Err()
		}
	}
	first, firstAt := s.last, s.lastAt
	if err := s.look(ctx); err != nil {
		return Used{}, err
	}
	s.answer = Between(first, s.last, s.lastAt.Sub(firstAt), s.lastAt)
	return s.answer, nil
}

func (s *sampler) look(ctx context.Context) error {
	at := time.Now()
	summary, err := s.source(ctx, s.node)
	if err != nil {
		return err
	}
	s.last, s.lastAt = summary, at
	return nil
}
