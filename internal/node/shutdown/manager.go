package shutdown

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Upstream's words, which users and controllers look for.
const (
	// Reason and Message of a pod that was ended.
	Reason  = "Terminated"
	Message = "Pod was terminated in response to imminent node shutdown."
	// RefusedReason and RefusedMessage of a pod that comes too late.
	RefusedReason  = "NodeShutdown"
	RefusedMessage = "Pod was rejected as the node is shutting down."
)

// errShuttingDown is the node's problem.
var errShuttingDown = errors.New("node is shutting down")

// lookEvery is how often the pods that are to end are looked at.
const lookEvery = 100 * time.Millisecond

// Config of a Manager.
type Config struct {
	Steps []Step
	// Pods are the node's, with their newest status.
	Pods func() []*v1.Pod
	// End ends a pod for good.
	End func(pod *v1.Pod, grace time.Duration)
	// Problem is told why the node is not Ready, nil when it is again.
	Problem func(error)
	// Told waits until the API knows of a pod's end; nil doesn't.
	Told  func(context.Context, types.UID)
	Clock clock.WithTicker
	Log   *slog.Logger
}

// Manager carries out a shutdown.
type Manager struct {
	cfg Config

	mu     sync.Mutex
	active bool
}

// New makes a Manager.
func New(cfg Config) (*Manager, error) {
	if cfg.Pods == nil || cfg.End == nil || cfg.Problem == nil {
		return nil, errors.New("node shutdown: Pods, End and Problem are needed")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Manager{cfg: cfg}, nil
}

// Active tells that the node takes no more pods.
func (m *Manager) Active() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active
}

// Shutdown ends all pods and returns when the machine may go down: when they have
// ended, or their time is used up. With steps it is done by these, not the
// configured ones. The node stays closed until Resume.
func (m *Manager) Shutdown(ctx context.Context, steps ...Step) error {
	if len(steps) == 0 {
		steps = m.cfg.Steps
	}
	m.close(true)
	m.cfg.Log.Info("node shuts down", "within", Total(steps))
	var all []*v1.Pod
	for _, group := range Plan(m.cfg.Pods(), steps) {
		for _, pod := range group.Pods {
			m.cfg.Log.Info("pod ends for the node's shutdown", "namespace", pod.Namespace, "name", pod.Name, "grace", group.grace(pod))
			m.cfg.End(pod, group.grace(pod))
		}
		if err := m.await(ctx, group); err != nil {
			return err
		}
		all = append(all, group.Pods...)
	}
	if m.cfg.Told != nil {
		for _, pod := range all {
			m.cfg.Told(ctx, pod.UID)
		}
	}
	return ctx.Err()
}

// Resume takes pods again: the shutdown was called off.
func (m *Manager) Resume() { m.close(false) }

func (m *Manager) close(active bool) {
	m.mu.Lock()
	changed := m.active != active
	m.active = active
	m.mu.Unlock()
	switch {
	case changed && active:
		m.cfg.Problem(errShuttingDown)
	case changed:
		m.cfg.Problem(nil)
	}
}

// await returns when the group's pods have ended or their time is up.
func (m *Manager) await(ctx context.Context, group Group) error {
	deadline := m.cfg.Clock.Now().Add(group.Grace)
	for m.running(group.Pods) && m.cfg.Clock.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.cfg.Clock.After(lookEvery):
		}
	}
	return nil
}

func (m *Manager) running(group []*v1.Pod) bool {
	return slices.ContainsFunc(m.cfg.Pods(), func(now *v1.Pod) bool {
		return !ended(now) && slices.ContainsFunc(group, func(p *v1.Pod) bool { return p.UID == now.UID })
	})
}
