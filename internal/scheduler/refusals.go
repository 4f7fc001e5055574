package scheduler

import (
	"context"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Refusal is a node that would not take a pod, and why, in the words of events.
type Refusal struct {
	Node    string   `json:"node"`
	Reasons []string `json:"reasons"`
}

// Refusals says of every node why it would not take the pod now, by name; of none if
// one would. It asks Run's goroutine, and gives up when ctx ends.
func (s *Scheduler) Refusals(ctx context.Context, pod *v1.Pod) []Refusal {
	answer := make(chan []Refusal, 1)
	s.send(ctx, func() { answer <- s.refusals(pod) })
	select {
	case all := <-answer:
		return all
	case <-ctx.Done():
		return nil
	}
}

func (s *Scheduler) refusals(pod *v1.Pod) []Refusal {
	wish, _, nowhere, err := s.wish(pod)
	if err != nil || nowhere != "" {
		return nil
	}
	_, why := s.cluster.Place(wish)
	if why == nil {
		return nil
	}
	return why.refusals()
}

func (u *Unfit) refusals() []Refusal {
	var all []Refusal
	for n, reasons := range u.refused {
		r := Refusal{Node: n.name}
		for _, reason := range reasons {
			r.Reasons = append(r.Reasons, reason.Text)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Refusal) int { return strings.Compare(a.Node, b.Node) })
	return all
}
