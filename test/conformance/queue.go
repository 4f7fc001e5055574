package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// queue runs tests, several at a time, and tells of each when it has ended.
type queue struct {
	runner suite.Runner
	add    func(suite.Result) error
	out    io.Writer
	total  int

	mu    sync.Mutex
	ended int
}

// run the tests, n at a time, in their order.
func (q *queue) run(ctx context.Context, specs []suite.Spec, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(n)
	for _, s := range specs {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			result, err := q.runner.Run(ctx, s)
			if err != nil {
				return err
			}
			q.tell(result)
			return q.add(result)
		})
	}
	return group.Wait()
}

func (q *queue) tell(r suite.Result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended++
	line := fmt.Sprintf("[%d/%d] %-7s %s (%s)", q.ended, q.total, r.State, r.Name, r.Took.Round(100*time.Millisecond))
	if r.State == suite.Failed || r.State == suite.Lost {
		reason, _, _ := strings.Cut(strings.TrimSpace(r.Reason), "\n")
		line += "\n          " + reason
	}
	fmt.Fprintln(q.out, line)
}
