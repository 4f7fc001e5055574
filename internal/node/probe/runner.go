package probe

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultInFlight bounds attempts that run at once. It is more than the pods of a full node have: those that hang must hold up
// nobody. Each costs a goroutine and at most one connection while it is under way.
const defaultInFlight = 4096

// Executor runs commands in containers.
type Executor interface {
	ExecSync(context.Context, *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error)
}

// Config of a Runner.
type Config struct {
	Executor Executor
	Options  Options
	// MaxInFlight bounds attempts at once; 0 is 4096.
	MaxInFlight int
	Log         *slog.Logger
}

// Runner probes the containers of a node.
type Runner struct {
	cfg  Config
	wake chan struct{}
	http *httpProber

	mu       sync.Mutex
	schedule *schedule
}

// New makes a Runner; nothing is probed before Run.
func New(cfg Config) (*Runner, error) {
	if cfg.Executor == nil {
		return nil, errors.New("probes: Executor is needed")
	}
	if cfg.MaxInFlight <= 0 {
		cfg.MaxInFlight = defaultInFlight
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Runner{cfg: cfg, wake: make(chan struct{}, 1), http: newHTTPProber(), schedule: newSchedule(cfg.Options)}, nil
}

// Sync makes the pod's probes those of exactly these containers: new ones begin, those of an ID that isn't listed end, the
// others go on undisturbed. An empty list ends them all.
func (r *Runner) Sync(pod *v1.Pod, containers []Container) {
	r.mu.Lock()
	sooner := r.schedule.sync(pod, containers, time.Now())
	r.mu.Unlock()
	if sooner {
		r.nudge()
	}
}

func (r *Runner) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends and all attempts with it; results go to sink, never two at a time.
func (r *Runner) Run(ctx context.Context, sink func(Result)) error {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	var sinking sync.Mutex
	slots := make(chan struct{}, r.cfg.MaxInFlight)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		case <-timer.C:
		}
		wait := r.startDue(slots, func(e *entry) {
			attempts.Go(func() {
				r.attempt(ctx, e, func(result Result) {
					sinking.Lock()
					defer sinking.Unlock()
					sink(result)
				})
				<-slots
				r.nudge()
			})
		})
		timer.Reset(wait)
	}
}

// startDue starts what is due while there are slots, and returns how long to wait for the next.
func (r *Runner) startDue(slots chan struct{}, start func(*entry)) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case slots <- struct{}{}:
		default:
			// The end of an attempt wakes Run.
			return time.Hour
		}
		e := r.schedule.take(time.Now())
		if e == nil {
			<-slots
			break
		}
		start(e)
	}
	due, any := r.schedule.next()
	if !any {
		return time.Hour
	}
	return max(time.Until(due), 0)
}

// attempt makes one attempt and tells what came of it.
func (r *Runner) attempt(ctx context.Context, e *entry, report func(Result)) {
	r.mu.Lock()
	podIP := e.podIP
	r.mu.Unlock()
	a := r.probe(ctx, e, podIP)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	result, any := r.schedule.done(e, a, time.Now())
	r.mu.Unlock()
	if any {
		report(result)
	}
}
