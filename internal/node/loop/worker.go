package loop

import (
	"context"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/journal"
	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/podstatus"
)

// worker is a pod's goroutine and all that is known of the pod. But for the box
// and shown, only that goroutine touches it.
type worker struct {
	loop  *Loop
	uid   types.UID
	box   *mailbox
	shown atomic.Pointer[v1.Pod] // with the newest status, for readers

	pod   *v1.Pod
	gone  bool
	again *v1.Pod // to be run once this one is gone
	// released: it takes no room on the node any more. Guarded by the loop.
	released bool
	mirror   *v1.Pod
	evict    *podlife.Want

	memory   podlife.Memory
	observed podlife.Observed
	seq      uint64 // of the newest snapshot taken in
	looking  bool   // a look is under way
	lookMore bool   // and another is needed after it
	flights  map[string]*flight
	status   v1.PodStatus
	sent     bool
	shownOf  basis // what status was last worked out from
	probed   []ProbedContainer
	meta     map[string]map[string]string // labels and annotations that the volumes know

	timer clock.Timer
}

func newWorker(l *Loop, pod *v1.Pod, m podlife.Memory) *worker {
	return &worker{loop: l, uid: pod.UID, box: newMailbox(), pod: pod, memory: m, flights: map[string]*flight{}}
}

// run is the goroutine: one select.
func (w *worker) run(ctx context.Context) {
	w.timer = w.loop.cfg.Clock.NewTimer(time.Hour)
	defer w.timer.Stop()
	w.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.box.ready:
		case <-w.timer.C():
		}
		if ctx.Err() != nil {
			return // select may have picked the mail; what it says is half the truth now
		}
		if w.turn(ctx) {
			return
		}
	}
}

// turn takes the mail, decides, persists and acts; true when nothing is left.
func (w *worker) turn(ctx context.Context) bool {
	m := w.box.take()
	w.receive(ctx, m)
	want := wantOf(w.pod, w.gone, w.evict)
	if want.Stop == "" && !w.memory.Admitted && w.memory.Stop == nil && w.observed.Known {
		want.Admission = w.loop.admit(w.pod)
	}
	if w.observed.Known && podlife.AsksResize(w.pod, w.memory) {
		want.Resize = w.loop.resize(w)
	}
	out := podlife.Decide(podlife.Input{
		Pod: w.object(), Want: want, Observed: w.observed, InFlight: w.inFlight(),
		Outcomes: outcomes(m), Probes: m.probes, Memory: w.memory,
		Policy: w.loop.cfg.Policy, Now: w.loop.cfg.Clock.Now(),
	})
	w.memory = out.Memory
	if out.Forget {
		w.record(out)
		return w.leave()
	}
	changed := w.persist()
	if changed || m.pod != nil { // what a pod is said to have counts too, and comes after what it was granted
		w.loop.keep(w.pod, w.memory)
	}
	w.show(changed)
	w.act(ctx, out)
	w.tell(out)
	w.sleep(out.WakeAt)
	return false
}

// receive takes the mail in.
func (w *worker) receive(ctx context.Context, m mail) {
	switch {
	case m.gone:
		w.gone, w.again = true, nil
	case m.pod != nil && w.gone:
		w.again = m.pod // a static pod that came back: it starts over when this one has ended
		m.pod = nil
	}
	if m.pod != nil {
		w.pod = m.pod
	}
	if m.mirror != nil || m.noMirror {
		w.mirror = m.mirror
	}
	if m.evict != nil {
		w.evict = m.evict
	}
	for _, e := range m.ends {
		w.land(e)
	}
	if m.snapshot != nil || m.lookErr != nil {
		w.looking = false
		w.see(m.snapshot)
		if m.lookErr != nil {
			w.loop.cfg.Log.Warn("pod not seen in the runtime, will be tried again", "pod", w.uid, "err", m.lookErr)
			w.lookAgain(ctx)
		}
	}
	if m.look || w.lookMore && !w.looking {
		w.look(ctx)
	}
	w.refreshVolumes(ctx)
}

// see takes a snapshot in, unless a newer one was.
func (w *worker) see(s *observe.Snapshot) {
	if s == nil || s.Seq <= w.seq {
		return
	}
	w.seq = s.Seq
	w.observed.Known = true
	w.tellEnds(w.observed.Instances, s.Instances)
	w.observed.Sandboxes, w.observed.Instances = s.Sandboxes, s.Instances
}

// look asks for a snapshot, one at a time.
func (w *worker) look(ctx context.Context) {
	if w.looking {
		w.lookMore = true
		return
	}
	w.looking, w.lookMore = true, false
	w.loop.wg.Go(func() {
		s, err := w.loop.cfg.Observer.Pod(ctx, w.uid)
		w.box.put(func(m *mail) {
			if err != nil {
				m.lookErr = err
				return
			}
			if m.snapshot == nil || m.snapshot.Seq < s.Seq {
				m.snapshot = &s
			}
		})
	})
}

// lookAgain after the runtime did not answer.
func (w *worker) lookAgain(ctx context.Context) {
	w.loop.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-w.loop.cfg.Clock.After(time.Second):
			w.box.put(func(m *mail) { m.look = true })
		}
	})
}

// granted is the pod as it lives: with the resources that it was granted.
func (w *worker) granted() *v1.Pod { return podlife.Allocated(w.pod, w.memory) }

// object is the pod as the API has it: of a static pod, with its mirror's status.
func (w *worker) object() *v1.Pod {
	if w.mirror == nil {
		return w.pod
	}
	p := *w.pod
	p.Status = w.mirror.Status
	return &p
}

// persist the memory; it tells whether there is anything new in it.
func (w *worker) persist() bool {
	changed, err := w.loop.cfg.Journal.Save(journal.Entry{
		UID: w.uid, Namespace: w.pod.Namespace, Name: w.pod.Name, Memory: w.memory, Pod: ending(&w.pod.Spec),
	})
	if err != nil {
		// The pod goes on: its memory is lost only if the agent is, too.
		w.loop.cfg.Log.Error("pod memory not kept", "pod", w.uid, "err", err)
	}
	return changed
}

// ending is the part of a spec that a pod's end needs.
func ending(s *v1.PodSpec) *v1.PodSpec {
	out := &v1.PodSpec{RestartPolicy: s.RestartPolicy, TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds, HostNetwork: s.HostNetwork}
	brief := func(list []v1.Container) (short []v1.Container) {
		for i := range list {
			c := v1.Container{Name: list[i].Name, Image: list[i].Image, RestartPolicy: list[i].RestartPolicy, Ports: list[i].Ports}
			if l := list[i].Lifecycle; l != nil && l.PreStop != nil {
				c.Lifecycle = &v1.Lifecycle{PreStop: l.PreStop}
			}
			short = append(short, c)
		}
		return short
	}
	out.InitContainers, out.Containers = brief(s.InitContainers), brief(s.Containers)
	return out
}

// basis is what a status is worked out from, beside the pod's memory.
type basis struct {
	pod, mirror      *v1.Pod
	seq              uint64
	cgroup, volumes  podlife.Presence
	primary, another string // addresses of the node
}

func (w *worker) basis() basis {
	b := basis{pod: w.pod, mirror: w.mirror, seq: w.seq, cgroup: w.observed.Cgroup, volumes: w.observed.Volumes}
	for i, ip := range w.loop.cfg.HostIPs() {
		if i == 0 {
			b.primary = ip
		} else {
			b.another = ip
		}
	}
	return b
}

// show works the status out and hands it on, and to readers here. Most turns of a
// pod that runs change nothing that is shown.
func (w *worker) show(changed bool) {
	basis := w.basis()
	if !w.observed.Known || w.sent && !changed && basis == w.shownOf {
		return
	}
	w.shownOf = basis
	object := w.object()
	status := podstatus.Generate(podstatus.Input{
		Pod: podlife.Allocated(object, w.memory), Previous: w.previous(), Observed: w.observed, Memory: w.memory, HostIPs: w.loop.cfg.HostIPs(),
		Runtime: w.loop.cfg.RuntimeName, RecursiveReadOnly: w.loop.cfg.RecursiveReadOnly, Now: w.loop.cfg.Clock.Now(),
	})
	same := w.sent && equality.Semantic.DeepEqual(status, w.status)
	w.status, w.sent = status, true
	shown := *w.granted()
	shown.Status = status
	w.shown.Store(&shown)
	if w.gone || same && equality.Semantic.DeepEqual(status, object.Status) {
		return
	}
	if podlife.IsStatic(w.pod) {
		if w.mirror == nil {
			return // it gets the status when it is there
		}
		object = w.mirror
	}
	w.loop.cfg.Statuses.Set(object, status, w.memory.Replacing())
}

// previous status: the last one made here, or, after a restart, the API's.
func (w *worker) previous() v1.PodStatus {
	if w.sent {
		return w.status
	}
	return w.object().Status
}

// tell passes on what the decision means for others.
func (w *worker) tell(out podlife.Output) {
	for _, e := range out.Events {
		w.loop.cfg.Events.Record(w.pod, e)
	}
	w.record(out)
	if list := w.running(); !reflect.DeepEqual(list, w.probed) {
		w.probed = list
		w.loop.cfg.Probes.Sync(w.pod, list)
	}
}

// record what was decided and is so, for whoever asks why.
func (w *worker) record(out podlife.Output) {
	e := Explanation{
		UID: w.uid, Namespace: w.pod.Namespace, Name: w.pod.Name, Phase: out.Phase, WakeAt: out.WakeAt, Probes: probes(out.Memory),
	}
	for _, f := range w.flights {
		e.InFlight = append(e.InFlight, InFlight{Kind: f.action.Kind, Container: f.action.Container, Why: f.action.Why, Since: f.since})
	}
	for _, wait := range out.Waits {
		e.Waits = append(e.Waits, Wait{Wait: wait})
	}
	if err := w.loop.records.update(e, out.Log, w.states()); err != nil {
		w.loop.cfg.Log.Warn("pod history not kept", "pod", w.uid, "err", err)
	}
}

// running are the instances that probes may be about.
func (w *worker) running() []ProbedContainer {
	var out []ProbedContainer
	add := func(list []v1.Container, statuses []v1.ContainerStatus, sidecarsOnly bool) {
		for i := range list {
			c := &list[i]
			if sidecarsOnly && !podlife.IsSidecar(c) || c.StartupProbe == nil && c.LivenessProbe == nil && c.ReadinessProbe == nil {
				continue
			}
			at := slices.IndexFunc(statuses, func(s v1.ContainerStatus) bool { return s.Name == c.Name && s.State.Running != nil })
			if at < 0 {
				continue
			}
			id := statuses[at].ContainerID[len(w.loop.cfg.RuntimeName)+len("://"):]
			out = append(out, ProbedContainer{
				Name: c.Name, ID: id, PodIP: w.status.PodIP, StartedAt: w.startedAt(id), Started: *statuses[at].Started, Stopping: w.memory.Stop != nil,
			})
		}
	}
	add(w.pod.Spec.InitContainers, w.status.InitContainerStatuses, true)
	add(w.pod.Spec.Containers, w.status.ContainerStatuses, false)
	return out
}

// startedAt is the exact time, which the status has in seconds only.
func (w *worker) startedAt(id string) time.Time {
	for i := range w.observed.Instances {
		if w.observed.Instances[i].ID == id {
			return w.observed.Instances[i].StartedAt
		}
	}
	return time.Time{}
}

// sleep sets the timer to the wake-up time.
func (w *worker) sleep(until time.Time) {
	d := time.Hour // to wake for nothing once an hour does no harm
	if !until.IsZero() {
		d = max(until.Sub(w.loop.cfg.Clock.Now()), 0)
	}
	if !w.timer.Stop() {
		select {
		case <-w.timer.C():
		default:
		}
	}
	w.timer.Reset(d)
}

// leave: nothing is left of the pod.
func (w *worker) leave() bool {
	if err := w.loop.cfg.Journal.Remove(w.uid); err != nil {
		w.loop.cfg.Log.Error("pod memory not removed", "pod", w.uid, "err", err)
	}
	w.loop.keep(w.pod, podlife.Memory{})
	w.loop.cfg.Statuses.Forget(w.uid)
	if len(w.probed) > 0 {
		w.loop.cfg.Probes.Sync(w.pod, nil)
	}
	if err := w.loop.records.leave(w.uid); err != nil {
		w.loop.cfg.Log.Warn("pod history not kept", "pod", w.uid, "err", err)
	}
	if again := w.loop.leave(w); again != nil {
		w.loop.Set(again)
		return true
	}
	w.loop.removeMirror(w.pod)
	return true
}

func outcomes(m mail) []podlife.Outcome {
	var out []podlife.Outcome
	for _, e := range m.ends {
		out = append(out, e.outcome)
	}
	if m.nudge {
		out = append(out, podlife.Outcome{Nudge: true})
	}
	return out
}
