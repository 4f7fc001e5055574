package loop

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/proa-project/proa/internal/node/podlife"
)

// resizeRequest is a pod that wants other resources than it has.
type resizeRequest struct {
	worker  *worker
	pod     *v1.Pod // as it wants to be
	grows   bool
	since   time.Time
	granted bool // its room is taken; its goroutine will hear of it
	verdict podlife.Admission
}

// resize asks for the resources that the pod's spec has now, in place of those it
// was granted. A pod that must wait gets its turn as soon as there is room.
func (l *Loop) resize(w *worker) *podlife.Admission {
	node := l.cfg.Node()
	if node == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.resizes[w.uid]
	if r == nil {
		r = &resizeRequest{worker: w, since: l.cfg.Clock.Now()}
		l.resizes[w.uid] = r
	}
	if r.pod != w.pod {
		r.pod, r.granted = w.pod, false
		r.grows = grows(podlife.Allocated(w.pod, w.memory), w.pod)
	}
	l.settleResizes(node)
	return &r.verdict
}

// settleResizes grants what there is room for, in the order of who should come
// first. One that does not fit holds up nobody.
func (l *Loop) settleResizes(node *v1.Node) {
	open := make([]*resizeRequest, 0, len(l.resizes))
	for _, r := range l.resizes {
		if !r.granted {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, resizeOrder)
	for _, r := range open {
		r.verdict = podlife.Fits(node, l.others(r.worker.uid), r.pod)
		if r.verdict.Admitted {
			r.granted = true
			l.admitted[r.worker.uid] = r.pod
			r.worker.box.put(func(*mail) {})
		}
	}
}

// resizeOrder: who asks for no more than before, then by priority and class, then
// who waits longest.
func resizeOrder(a, b *resizeRequest) int {
	number := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	guaranteed := func(r *resizeRequest) bool { return podlife.QoS(r.pod) == v1.PodQOSGuaranteed }
	return cmp.Or(
		number(a.grows)-number(b.grows),
		cmp.Compare(priority(b.pod), priority(a.pod)),
		number(guaranteed(b))-number(guaranteed(a)),
		a.since.Compare(b.since),
		cmp.Compare(a.worker.uid, b.worker.uid),
	)
}

func priority(pod *v1.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}

func grows(from, to *v1.Pod) bool {
	a := resourcehelper.PodRequests(from, resourcehelper.PodResourcesOptions{})
	b := resourcehelper.PodRequests(to, resourcehelper.PodResourcesOptions{})
	return b.Cpu().Cmp(*a.Cpu()) > 0 || b.Memory().Cmp(*a.Memory()) > 0
}

// reserved is the pod as it takes room on the node: with what it was granted, even
// if its goroutine has not heard of it yet. A request that is settled is dropped.
func (l *Loop) reserved(pod *v1.Pod, m podlife.Memory) *v1.Pod {
	r := l.resizes[pod.UID]
	switch {
	case r == nil:
	case m.Stop != nil || !podlife.AsksResize(pod, m):
		delete(l.resizes, pod.UID)
	case r.granted:
		return r.pod
	}
	return podlife.Allocated(pod, m)
}

// others are the pods that take room, but for one.
func (l *Loop) others(uid types.UID) []*v1.Pod {
	out := make([]*v1.Pod, 0, len(l.admitted))
	for other, p := range l.admitted {
		if other != uid {
			out = append(out, p)
		}
	}
	return out
}
