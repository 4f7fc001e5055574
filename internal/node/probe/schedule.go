package probe

import (
	"container/heap"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kind names which of a container's probes is meant.
type Kind string

// The three probes of a container.
const (
	Startup   Kind = "Startup"
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
)

// Verdict is what is found of a container, by one attempt or by the thresholds.
type Verdict string

// Unknown is neither passed nor failed: nothing was found out (yet).
const (
	Unknown Verdict = ""
	Success Verdict = "Success"
	Failure Verdict = "Failure"
)

// Container is a running instance of a container that is to be probed.
type Container struct {
	Name, ID  string
	PodIP     string
	StartedAt time.Time
	// Started: the startup probe passed, or there is none. Until then only it runs; afterwards only the others.
	Started bool
	// Stopping: the pod is ending; only readiness goes on.
	Stopping bool
}

// Result is one observation.
type Result struct {
	UID         types.UID
	Container   string
	ContainerID string
	Kind        Kind
	// Verdict is by the thresholds, Attempt this one attempt's.
	Verdict, Attempt Verdict
	// Warning: a success that the user should hear of.
	Warning bool
	// Output says why.
	Output string
	// Run is how many attempts in a row had this outcome, Threshold how many it takes.
	Run, Threshold int
	At             time.Time
}

// Options switch how probes are scheduled.
type Options struct {
	// Eager repeats first attempts that failed sooner than after a period.
	Eager bool
}

// firstExtra is when the first extra attempt comes after a failed one; each later one waits twice as long.
const firstExtra = 25 * time.Millisecond

// key identifies a probe of one instance of a container.
type key struct {
	uid  types.UID
	id   string
	kind Kind
}

// entry is a probe and how far it is.
type entry struct {
	key
	name      string
	container *v1.Container
	probe     *v1.Probe
	podIP     string

	// due is when the next attempt is made; regular is when the next one that counts is.
	due, regular time.Time
	// extra is the wait before the next attempt that counts only if it succeeds; zero is none any more.
	extra    time.Duration
	inFlight bool
	held     bool
	removed  bool
	heapAt   int

	verdict Verdict
	last    Verdict
	run     int
}

// schedule is all probes of a node. It knows no clock: every method is told the time.
type schedule struct {
	opts    Options
	entries map[key]*entry
	byPod   map[types.UID][]key
	queue   queue
}

func newSchedule(opts Options) *schedule {
	return &schedule{opts: opts, entries: map[key]*entry{}, byPod: map[types.UID][]key{}}
}

// sync makes the pod's probes those of exactly these containers. It tells whether something may be due earlier than before.
func (s *schedule) sync(pod *v1.Pod, containers []Container, now time.Time) bool {
	var want []key
	added := false
	for i := range containers {
		c := &containers[i]
		spec := containerSpec(pod, c.Name)
		if spec == nil {
			continue
		}
		for kind, probe := range active(spec, c) {
			k := key{pod.UID, c.ID, kind}
			want = append(want, k)
			if have := s.entries[k]; have != nil {
				have.podIP = c.PodIP
				continue
			}
			s.add(k, c, spec, probe, now)
			added = true
		}
	}
	for _, k := range s.byPod[pod.UID] {
		if !slices.Contains(want, k) {
			s.remove(k)
		}
	}
	if len(want) == 0 {
		delete(s.byPod, pod.UID)
		return added
	}
	s.byPod[pod.UID] = want
	return added
}

// active are the probes of a container that run in its present state.
func active(spec *v1.Container, c *Container) map[Kind]*v1.Probe {
	out := map[Kind]*v1.Probe{}
	if spec.StartupProbe != nil && !c.Started && !c.Stopping {
		out[Startup] = spec.StartupProbe
	}
	if spec.LivenessProbe != nil && c.Started && !c.Stopping {
		out[Liveness] = spec.LivenessProbe
	}
	if spec.ReadinessProbe != nil && c.Started {
		out[Readiness] = spec.ReadinessProbe
	}
	return out
}

func (s *schedule) add(k key, c *Container, spec *v1.Container, probe *v1.Probe, now time.Time) {
	first := c.StartedAt.Add(seconds(probe.InitialDelaySeconds))
	if first.Before(now) {
		first = now
	}
	e := &entry{key: k, name: c.Name, container: spec, probe: probe, podIP: c.PodIP, due: first, regular: first, heapAt: -1}
	if s.opts.Eager && k.kind != Liveness && probe.Exec == nil {
		e.extra = firstExtra
	}
	s.entries[k] = e
	heap.Push(&s.queue, e)
}

func (s *schedule) remove(k key) {
	e := s.entries[k]
	if e == nil {
		return
	}
	e.removed = true
	delete(s.entries, k)
	if e.heapAt >= 0 {
		heap.Remove(&s.queue, e.heapAt)
	}
}

// next is when the first attempt is due; false is never.
func (s *schedule) next() (time.Time, bool) {
	if len(s.queue) == 0 {
		return time.Time{}, false
	}
	return s.queue[0].due, true
}

// take returns a probe that is due and marks it as in flight; nil is none.
func (s *schedule) take(now time.Time) *entry {
	if len(s.queue) == 0 || s.queue[0].due.After(now) {
		return nil
	}
	e := heap.Pop(&s.queue).(*entry)
	e.inFlight = true
	return e
}

// done brings the outcome of an attempt and returns what is to be reported; false is nothing. An attempt is identified by its
// entry: what was removed meanwhile, and perhaps announced again, gets nothing of an old attempt.
func (s *schedule) done(e *entry, a answer, now time.Time) (Result, bool) {
	attempt := a.verdict
	if e.removed || !e.inFlight {
		return Result{}, false
	}
	e.inFlight = false
	counts := !e.due.Before(e.regular) || attempt == Success
	if counts {
		// As a ticker does: a late attempt is followed by the next one on time, a very late one at once.
		e.regular = latest(e.due.Add(period(e.probe)), now)
	}
	result, report := Result{}, false
	if counts {
		result, report = e.count(a, now)
	}
	e.held = e.verdict != Unknown && (e.kind == Startup || (e.kind == Liveness && e.verdict == Failure))
	if e.held {
		return result, report
	}
	e.due = e.regular
	if attempt == Success || e.verdict != Unknown {
		e.extra = 0
	}
	if e.extra > 0 {
		if at := now.Add(e.extra); at.Before(e.regular) {
			e.due = at
		}
		e.extra *= 2
	}
	heap.Push(&s.queue, e)
	return result, report
}

// count applies the thresholds. A prober's own error (Unknown) tells nothing of the container: it breaks no run.
func (e *entry) count(a answer, now time.Time) (Result, bool) {
	attempt := a.verdict
	changed := false
	threshold := thresholdOf(e.probe, attempt)
	if attempt != Unknown {
		if attempt == e.last {
			e.run++
		} else {
			e.last, e.run = attempt, 1
		}
		if e.run >= threshold && e.verdict != attempt {
			e.verdict, changed = attempt, true
		}
	}
	return Result{
		UID: e.uid, Container: e.name, ContainerID: e.id, Kind: e.kind,
		Verdict: e.verdict, Attempt: attempt, Warning: a.warning, Output: a.output, Run: e.run, Threshold: threshold, At: now,
	}, changed || attempt != Success || a.warning
}

func thresholdOf(p *v1.Probe, attempt Verdict) int {
	n, fallback := int(p.FailureThreshold), 3
	if attempt == Success {
		n, fallback = int(p.SuccessThreshold), 1
	}
	if n <= 0 {
		return fallback
	}
	return n
}

// period and timeout fall back to the API's defaults, for pods that skipped them.
func period(p *v1.Probe) time.Duration {
	if p.PeriodSeconds <= 0 {
		return 10 * time.Second
	}
	return seconds(p.PeriodSeconds)
}

func timeout(p *v1.Probe) time.Duration {
	if p.TimeoutSeconds <= 0 {
		return time.Second
	}
	return seconds(p.TimeoutSeconds)
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func containerSpec(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// queue is a heap of entries by due time; each knows its place, to be removed from it.
type queue []*entry

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].heapAt, q[j].heapAt = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.heapAt = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.heapAt = -1
	return e
}
