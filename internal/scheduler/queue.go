package scheduler

import (
	"container/heap"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// How a pod that fitted nowhere is tried again: when something changed that may
// help, but not more often than these; and in any case after a while.
const (
	firstBackoff = time.Second
	lastBackoff  = 10 * time.Second
	waitAtMost   = 5 * time.Minute
)

// Queue of the pods that want a node. It knows no clock: now is told. A pod is
//
//	ready ──Pop──▶ (being tried) ──Unfit──▶ waiting ──Happened──▶ resting ─┐
//	  ▲                         └──Failed──▶ failed ──────────due──────────┤
//	  └────────────────due, or nothing else is ready──────────────────────┘
//
// A pod that rests may be tried early when nothing is ready: the rest is there to
// let others go first. One that failed may not: it would fail again.
type Queue struct {
	pods    map[types.UID]*queued
	ready   order // by priority, then by age in the queue
	resting order // the others by when they are due
	failed  order
	waiting order
	count   uint64
}

// queued is a pod in the queue.
type queued struct {
	*podInfo
	in       *order // nil: being tried
	index    int
	number   uint64 // of arrival
	tries    int
	tried    time.Time
	due      time.Time
	concerns Concern
}

// NewQueue is empty.
func NewQueue() *Queue {
	byDue := func(a, b *queued) bool { return a.due.Before(b.due) }
	return &Queue{
		pods:  map[types.UID]*queued{},
		ready: order{less: first}, resting: order{less: byDue}, failed: order{less: byDue}, waiting: order{less: byDue},
	}
}

func first(a, b *queued) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.number < b.number
}

// Set adds a pod, or notes how it looks now; retry says that the change may help it.
func (q *Queue) Set(pod *v1.Pod, retry bool) {
	p, known := q.pods[pod.UID]
	if !known {
		p = &queued{}
		q.pods[pod.UID] = p
	}
	p.podInfo = newPodInfo(pod)
	switch {
	case !known, retry:
		q.enter(&q.ready, p)
	case p.in != nil:
		heap.Fix(p.in, p.index)
	}
}

// Has says that a pod is in the queue.
func (q *Queue) Has(uid types.UID) bool { return q.pods[uid] != nil }

// Remove forgets a pod.
func (q *Queue) Remove(uid types.UID) {
	if p, ok := q.pods[uid]; ok {
		q.leave(p)
		delete(q.pods, uid)
	}
}

func (q *Queue) enter(o *order, p *queued) {
	q.leave(p)
	q.count++
	p.number = q.count
	heap.Push(o, p)
}

func (q *Queue) leave(p *queued) {
	if p.in != nil {
		heap.Remove(p.in, p.index)
	}
}

// Pop takes the pod that is to be tried next. It stays known until it is removed
// or told to be Unfit or to have Failed.
func (q *Queue) Pop(now time.Time) (*v1.Pod, bool) {
	q.flush(now)
	for _, o := range []*order{&q.ready, &q.resting} {
		if len(o.list) > 0 {
			p := heap.Pop(o).(*queued)
			p.tries++
			p.tried = now
			return p.Pod, true
		}
	}
	return nil, false
}

// flush makes ready what is due.
func (q *Queue) flush(now time.Time) {
	for _, o := range []*order{&q.resting, &q.failed, &q.waiting} {
		for len(o.list) > 0 && !o.list[0].due.After(now) {
			q.enter(&q.ready, o.list[0])
		}
	}
}

// Unfit has a pod wait until something changes of what it failed by.
func (q *Queue) Unfit(uid types.UID, concerns Concern, now time.Time) {
	if p, ok := q.pods[uid]; ok {
		q.leave(p)
		p.concerns, p.due = concerns, now.Add(waitAtMost)
		q.enter(&q.waiting, p)
	}
}

// Failed has a pod be tried again after a while: it fitted, but could not be bound.
func (q *Queue) Failed(uid types.UID, now time.Time) {
	if p, ok := q.pods[uid]; ok {
		q.leave(p)
		p.due = now.Add(backoff(p.tries))
		q.enter(&q.failed, p)
	}
}

// Happened wakes the pods that a change may help. helps, if not nil, looks closer.
func (q *Queue) Happened(changed Concern, helps func(*podInfo, Concern) bool) {
	var helped []*queued
	for _, p := range q.waiting.list {
		if p.concerns&changed != 0 && (helps == nil || helps(p.podInfo, p.concerns)) {
			helped = append(helped, p)
		}
	}
	for _, p := range helped {
		q.leave(p)
		p.due = p.tried.Add(backoff(p.tries))
		q.enter(&q.resting, p)
	}
}

// Ready has a pod be tried again now.
func (q *Queue) Ready(uid types.UID) {
	if p, ok := q.pods[uid]; ok {
		q.enter(&q.ready, p)
	}
}

// Wake is when to look again, though nothing may have happened.
func (q *Queue) Wake() (at time.Time, ok bool) {
	for _, o := range []*order{&q.failed, &q.waiting} {
		if len(o.list) > 0 && (!ok || o.list[0].due.Before(at)) {
			at, ok = o.list[0].due, true
		}
	}
	return at, ok
}

func backoff(tries int) time.Duration {
	d := firstBackoff
	for ; tries > 1 && d < lastBackoff; tries-- {
		d *= 2
	}
	return min(d, lastBackoff)
}

// order is a heap of queued pods that know where they are.
type order struct {
	list []*queued
	less func(a, b *queued) bool
}

var _ heap.Interface = (*order)(nil)

func (o *order) Len() int           { return len(o.list) }
func (o *order) Less(i, j int) bool { return o.less(o.list[i], o.list[j]) }

func (o *order) Swap(i, j int) {
	o.list[i], o.list[j] = o.list[j], o.list[i]
	o.list[i].index, o.list[j].index = i, j
}

func (o *order) Push(x any) {
	p := x.(*queued)
	p.in, p.index = o, len(o.list)
	o.list = append(o.list, p)
}

func (o *order) Pop() any {
	last := len(o.list) - 1
	p := o.list[last]
	o.list[last] = nil
	o.list, p.in = o.list[:last], nil
	return p
}
