package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/history"
	"github.com/proa-project/proa/internal/node/journal"
	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
)

// Executor carries out an action; *execute.Executor is one.
type Executor interface {
	Do(ctx context.Context, r execute.Request) podlife.Outcome
}

// Observer looks at a pod in the runtime; *observe.Observer is one.
type Observer interface {
	Pod(ctx context.Context, uid types.UID) (observe.Snapshot, error)
}

// Journal keeps memories; *journal.Journal is one.
type Journal interface {
	// Save tells whether the entry is another than the last.
	Save(journal.Entry) (changed bool, err error)
	Remove(types.UID) error
}

// Events records events; *events.Recorder is one.
type Events interface {
	Record(pod *v1.Pod, e podlife.Event)
}

// Statuses sends statuses to the API, some time; *Sender is one.
type Statuses interface {
	// Set gives the newest status of the pod, whose object is as given. One that
	// passes will be followed by another in a moment.
	Set(object *v1.Pod, status v1.PodStatus, passes bool)
	Forget(uid types.UID)
}

// Config is what the loop needs.
type Config struct {
	Observer Observer
	Executor Executor
	Journal  Journal
	Events   Events
	Statuses Statuses
	Probes   Probes
	Mirrors  Mirrors // nil: no static pods
	// Histories keeps what pods did over a restart (nil: nothing does); Stored is
	// what it has kept.
	Histories Histories
	Stored    []history.Stored
	// Node is asked at every admission and status.
	Node func() *v1.Node // nil result: not known yet, pods wait
	// Own is the node as the machine knows it: static pods don't wait for the API's.
	// nil: they do.
	Own func() *v1.Node
	// Latest is the node as the API has it now, nil if it doesn't say. It is asked
	// when the node seems to lack what a pod selects it by: who set the label and
	// who bound the pod may both have been faster than the watch. nil: nobody is asked.
	Latest  func() *v1.Node
	HostIPs func() []string
	// Guard may refuse a pod that fits, for the node's own reasons; nil takes all.
	Guard func(*v1.Pod) *podlife.Admission
	// Changed is told when the set of admitted pods changed (QoS cgroups).
	Changed           func(admitted []*v1.Pod)
	RuntimeName       string
	RecursiveReadOnly bool
	Policy            podlife.Policy
	Clock             clock.Clock
	Log               *slog.Logger
}

func (c *Config) validate() error {
	var errs []error
	for name, missing := range map[string]bool{
		"Observer": c.Observer == nil, "Executor": c.Executor == nil, "Journal": c.Journal == nil, "Events": c.Events == nil,
		"Statuses": c.Statuses == nil, "Probes": c.Probes == nil, "Node": c.Node == nil, "HostIPs": c.HostIPs == nil,
		"Clock": c.Clock == nil, "Log": c.Log == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("loop: %s is missing", name))
		}
	}
	return errors.Join(errs...)
}

// Loop runs the pods of a node.
type Loop struct {
	cfg     Config
	records *records
	ctx     context.Context // of all pods' goroutines, ended by Stop
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex
	workers  map[types.UID]*worker
	memories map[types.UID]podlife.Memory // from the journal, until the pod's goroutine begins
	admitted map[types.UID]*v1.Pod        // they take room on the node
	static   map[types.UID]bool           // static pods that there are manifests of
	anew     map[types.UID]bool           // static pods that run again, until their mirrors are made anew
	resizes  map[types.UID]*resizeRequest // that are not settled yet
}

// New makes a loop that remembers what the journal has.
func New(cfg Config, memories map[types.UID]podlife.Memory) (*Loop, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Loop{
		cfg: cfg, records: newRecords(cfg.Clock, cfg.Histories, cfg.Stored), ctx: ctx, stop: stop,
		workers: map[types.UID]*worker{}, memories: memories, admitted: map[types.UID]*v1.Pod{}, static: map[types.UID]bool{}, anew: map[types.UID]bool{},
		resizes: map[types.UID]*resizeRequest{},
	}, nil
}

// Stop ends all goroutines; the pods go on. It returns when all have ended.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.stop()
	l.mu.Unlock()
	l.wg.Wait()
}

// Set gives a pod's object, new or changed.
func (l *Loop) Set(pod *v1.Pod) {
	l.mail(pod.UID, pod, func(m *mail) { m.pod, m.gone = pod, false })
}

// Gone tells that the object is no more; last is its last version. Whoever took it
// away by force made its room free: the scheduler has given it to others by now.
func (l *Loop) Gone(last *v1.Pod) {
	if l.mail(last.UID, nil, func(m *mail) { m.pod, m.gone = last, true }) {
		l.release(last)
	}
}

// Orphan ends a pod that the runtime, or the disk, has, but no API.
func (l *Loop) Orphan(skeleton *v1.Pod) {
	if l.mail(skeleton.UID, skeleton, func(m *mail) { m.gone = true }) {
		l.release(skeleton)
	}
}

// Changed tells that something of the pod changed in the runtime; false if the
// pod is not known.
func (l *Loop) Changed(uid types.UID) bool {
	return l.mail(uid, nil, func(m *mail) { m.look = true })
}

// Nudge tells that what a failed action waits for may be there now.
func (l *Loop) Nudge(uid types.UID) {
	l.mail(uid, nil, func(m *mail) { m.nudge = true })
}

// Probed takes a probe's result.
func (l *Loop) Probed(r podlife.ProbeResult) {
	l.mail(r.UID, nil, func(m *mail) { m.probes = append(m.probes, r) })
}

// Evict ends a pod as Failed.
func (l *Loop) Evict(uid types.UID, w podlife.Want) {
	w.Stop = podlife.StopEvicted
	l.mail(uid, nil, func(m *mail) { m.evict = &w })
}

// mail puts mail into a pod's box. A pod that is not known is made known if birth
// is its object, and else the mail is dropped.
func (l *Loop) mail(uid types.UID, birth *v1.Pod, f func(*mail)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.workers[uid]
	if w == nil {
		if birth == nil || l.ctx.Err() != nil {
			return false
		}
		memory := l.memories[uid]
		if podlife.IsStatic(birth) {
			ended := memory.End != nil
			memory = memory.Anew()
			if ended && memory.End == nil {
				l.anew[uid] = true
			}
		}
		w = newWorker(l, birth, memory)
		delete(l.memories, uid)
		l.workers[uid] = w
		if w.memory.Admitted && w.memory.End == nil {
			l.admitted[uid] = podlife.Allocated(birth, w.memory)
		}
		l.wg.Go(func() { w.run(l.ctx) })
	}
	w.box.put(f)
	return true
}

// leave forgets a pod of which nothing is left, and returns its object if it has
// come back meanwhile.
func (l *Loop) leave(w *worker) (again *v1.Pod) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.workers, w.uid)
	if m := w.box.take(); m.pod != nil && !m.gone {
		return m.pod
	}
	return w.again
}

// admit is the node's last check; one pod at a time, or two would take one room.
func (l *Loop) admit(pod *v1.Pod) *podlife.Admission {
	node := l.cfg.Node()
	if node == nil && podlife.IsStatic(pod) && l.cfg.Own != nil {
		node = l.cfg.Own()
	}
	if node == nil {
		return nil
	}
	if l.cfg.Guard != nil {
		if no := l.cfg.Guard(pod); no != nil {
			return no
		}
	}
	a := l.take(node, pod)
	if a.Reason == podlife.ReasonNodeAffinity && l.cfg.Latest != nil {
		if latest := l.cfg.Latest(); latest != nil {
			a = l.take(latest, pod)
		}
	}
	l.changed()
	return &a
}

// take gives the pod its room on the node if it fits.
func (l *Loop) take(node *v1.Node, pod *v1.Pod) podlife.Admission {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := podlife.Fits(node, l.others(pod.UID), pod)
	if a.Admitted {
		l.admitted[pod.UID] = pod
	}
	return a
}

// release the room of a pod for good, whatever still runs of it.
func (l *Loop) release(pod *v1.Pod) {
	l.mu.Lock()
	if w := l.workers[pod.UID]; w != nil {
		w.released = true
	}
	l.mu.Unlock()
	l.keep(pod, podlife.Memory{})
}

// keep updates the room that a pod takes: none once it has ended.
func (l *Loop) keep(pod *v1.Pod, m podlife.Memory) {
	l.mu.Lock()
	_, had := l.admitted[pod.UID]
	w := l.workers[pod.UID]
	has := m.Admitted && m.End == nil && !m.Deleted && (w == nil || !w.released)
	if has {
		l.admitted[pod.UID] = l.reserved(pod, m)
	} else {
		delete(l.admitted, pod.UID)
		delete(l.resizes, pod.UID)
	}
	if node := l.cfg.Node(); len(l.resizes) > 0 && node != nil {
		l.settleResizes(node)
	}
	l.mu.Unlock()
	if had != has {
		l.changed()
	}
}

func (l *Loop) changed() {
	if l.cfg.Changed == nil {
		return
	}
	l.mu.Lock()
	pods := make([]*v1.Pod, 0, len(l.admitted))
	for _, p := range l.admitted {
		pods = append(pods, p)
	}
	l.mu.Unlock()
	l.cfg.Changed(pods)
}

// Known tells whether the pod has a goroutine.
func (l *Loop) Known(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.workers[uid] != nil
}

// Pods returns all pods with the newest status that is known here. They are not
// to be changed.
func (l *Loop) Pods() []*v1.Pod {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*v1.Pod, 0, len(l.workers))
	for _, w := range l.workers {
		if p := w.shown.Load(); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// EndHistories of pods that ended while the agent was down. Only to be called once
// every pod that there is was given.
func (l *Loop) EndHistories() {
	if err := l.records.endUnknown(l.Known); err != nil {
		l.cfg.Log.Warn("pod history not kept", "err", err)
	}
}

// Why explains a pod by its name: the living one first, then those that are gone.
func (l *Loop) Why(namespace, name string) []Explanation {
	return l.records.find(namespace, name)
}
