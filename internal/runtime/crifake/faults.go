package crifake

import (
	"context"
	"sync"
	"time"
)

// Call is one request that the fake was sent.
type Call struct {
	Method string
	Req    any
	Err    error
	Done   bool
}

// faults is what the test wants to go wrong, by method name ("StartContainer").
type faults struct {
	mu     sync.Mutex
	before map[string][]error
	after  map[string][]error
	always map[string]error
	delay  map[string]time.Duration
	gates  map[string]chan struct{}
	hook   func(ctx context.Context, method string, req any) error
	calls  []*Call
}

// Fail makes the next n calls of method fail before they have any effect; n < 0
// is all of them, and nil then heals it.
func (r *Runtime) Fail(method string, err error, n int) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	if n < 0 {
		put(&r.faults.always, method, err)
		return
	}
	for range n {
		put(&r.faults.before, method, append(r.faults.before[method], err))
	}
}

// FailAfter makes the next n calls of method have their effect and return err:
// the answer that got lost.
func (r *Runtime) FailAfter(method string, err error, n int) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	for range n {
		put(&r.faults.after, method, append(r.faults.after[method], err))
	}
}

// Delay makes every call of method take this long, by the fake's clock.
func (r *Runtime) Delay(method string, d time.Duration) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	put(&r.faults.delay, method, d)
}

// Block holds calls of method until release is called (or their context ends).
func (r *Runtime) Block(method string) (release func()) {
	gate := make(chan struct{})
	r.faults.mu.Lock()
	put(&r.faults.gates, method, gate)
	r.faults.mu.Unlock()
	return sync.OnceFunc(func() {
		r.faults.mu.Lock()
		delete(r.faults.gates, method)
		r.faults.mu.Unlock()
		close(gate)
	})
}

// Hook is called at the start of every call; an error it returns fails the call.
func (r *Runtime) Hook(f func(ctx context.Context, method string, req any) error) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	r.faults.hook = f
}

// Calls are the calls so far of the methods named, or all, in order of arrival.
func (r *Runtime) Calls(methods ...string) []Call {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	var out []Call
	for _, c := range r.faults.calls {
		if len(methods) == 0 {
			out = append(out, *c)
			continue
		}
		for _, m := range methods {
			if c.Method == m {
				out = append(out, *c)
			}
		}
	}
	return out
}

// put writes into a map that may not exist yet.
func put[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// pop takes the first error waiting for a method.
func pop(m map[string][]error, method string) error {
	q := m[method]
	if len(q) == 0 {
		return nil
	}
	m[method] = q[1:]
	return q[0]
}

// call runs one request through the faults.
func call[Req, Resp any](ctx context.Context, r *Runtime, method string, req Req, do func() (Resp, error)) (Resp, error) {
	var none Resp
	record, err := r.enter(ctx, method, req)
	if err != nil {
		r.leave(record, err)
		return none, err
	}
	resp, err := do()
	r.faults.mu.Lock()
	lost := pop(r.faults.after, method)
	r.faults.mu.Unlock()
	if err == nil && lost != nil {
		resp, err = none, lost
	}
	r.leave(record, err)
	return resp, err
}

func (r *Runtime) leave(record *Call, err error) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	record.Err, record.Done = err, true
}

func (r *Runtime) enter(ctx context.Context, method string, req any) (*Call, error) {
	f := &r.faults
	f.mu.Lock()
	record := &Call{Method: method, Req: req}
	f.calls = append(f.calls, record)
	hook, gate, delay := f.hook, f.gates[method], f.delay[method]
	f.mu.Unlock()

	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return record, ctx.Err()
		}
	}
	if delay > 0 {
		t := r.clock.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C():
		case <-ctx.Done():
			return record, ctx.Err()
		}
	}
	if hook != nil {
		if err := hook(ctx, method, req); err != nil {
			return record, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := pop(f.before, method); err != nil {
		return record, err
	}
	return record, f.always[method]
}
