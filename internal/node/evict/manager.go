package evict

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const (
	// every is how often the signals are read, and pods looked at that have limits of their own.
	every = 10 * time.Second
	// transition is upstream's default: pressure lingers for five minutes.
	transition = 5 * time.Minute
)

// Config of a Manager.
type Config struct {
	// Node reads the node's own stats alone, which is cheap; Summary measures everything, as often as that is cheap.
	Node    func(context.Context) (*statsapi.NodeStats, error)
	Summary func(context.Context) (*statsapi.Summary, error)
	// Pods are the running pods of the node.
	Pods func() []*v1.Pod
	// Evict ends a pod for good.
	Evict func(*v1.Pod, Eviction)
	// Reclaim gives up what the node can spare (unused images, dead containers); nil is nothing.
	Reclaim func(context.Context) error
	// Pressure is told of the node's conditions whenever they change.
	Pressure func(map[v1.NodeConditionType]bool)
	// Event reports on the node ("EvictionThresholdMet"); nil is told nothing.
	Event func(reason, message string)

	// Thresholds are the default ones when nil.
	Thresholds   []Threshold
	Transition   time.Duration
	MaxSoftGrace time.Duration
	Log          *slog.Logger
}

// Manager watches the node's resources. Its goroutine alone touches its state.
type Manager struct {
	cfg    Config
	memory Memory
	told   map[v1.NodeConditionType]bool
}

// New makes a Manager.
func New(cfg Config) (*Manager, error) {
	if cfg.Node == nil || cfg.Summary == nil || cfg.Pods == nil || cfg.Evict == nil || cfg.Pressure == nil {
		return nil, errors.New("eviction: Node, Summary, Pods, Evict and Pressure are needed")
	}
	if cfg.Thresholds == nil {
		cfg.Thresholds = DefaultThresholds(false)
	}
	if cfg.Transition == 0 {
		cfg.Transition = transition
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Manager{cfg: cfg}, nil
}

// Run watches until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := m.turn(ctx, time.Now()); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("resources of the node not watched", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// turn reads, decides and acts. A decision may ask to be made again with the pods measured, or after something was reclaimed:
// three rounds at most.
func (m *Manager) turn(ctx context.Context, now time.Time) error {
	node, err := m.cfg.Node(ctx)
	if err != nil {
		return err
	}
	in := Input{Now: now, Memory: m.memory, Thresholds: m.cfg.Thresholds, Signals: SignalsOf(node), Transition: m.cfg.Transition, MaxSoftGrace: m.cfg.MaxSoftGrace}
	if slices.ContainsFunc(m.cfg.Pods(), limited) {
		if err := m.measure(ctx, &in); err != nil {
			return err
		}
	}
	for range 3 {
		out := Decide(in)
		m.memory = out.Memory
		m.tell(out)
		switch {
		case out.Reclaim:
			m.event("EvictionThresholdMet", "Attempting to reclaim "+string(out.Short))
			if m.cfg.Reclaim != nil {
				if err := m.cfg.Reclaim(ctx); err != nil {
					m.cfg.Log.Warn("nothing reclaimed", "resource", out.Short, "err", err)
				}
			}
			if node, err = m.cfg.Node(ctx); err != nil {
				return err
			}
			in.Reclaimed, in.Signals, in.Memory = true, SignalsOf(node), out.Memory
		case out.Measure:
			if err := m.measure(ctx, &in); err != nil {
				return err
			}
			in.Memory = out.Memory
		default:
			m.evict(out)
			return nil
		}
	}
	return nil
}

func (m *Manager) measure(ctx context.Context, in *Input) error {
	summary, err := m.cfg.Summary(ctx)
	if err != nil {
		return err
	}
	in.Pods, in.Measured = PodsOf(m.cfg.Pods(), summary), true
	return nil
}

func (m *Manager) tell(out Output) {
	if m.told != nil && len(m.told) == len(out.Conditions) {
		same := true
		for condition := range out.Conditions {
			same = same && m.told[condition]
		}
		if same {
			return
		}
	}
	m.told = out.Conditions
	m.cfg.Pressure(out.Conditions)
}

func (m *Manager) evict(out Output) {
	if out.Short != "" && len(out.Evict) == 0 {
		m.cfg.Log.Warn("short of a resource and no pod to evict", "resource", out.Short)
	}
	for _, eviction := range out.Evict {
		for _, pod := range m.cfg.Pods() {
			if pod.UID == eviction.UID {
				m.cfg.Log.Info("pod evicted", "namespace", pod.Namespace, "name", pod.Name, "message", eviction.Message)
				m.cfg.Evict(pod, eviction)
			}
		}
	}
}

func (m *Manager) event(reason, message string) {
	if m.cfg.Event != nil {
		m.cfg.Event(reason, message)
	}
}
