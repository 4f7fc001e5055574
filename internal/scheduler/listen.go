package scheduler

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// listen has changes of the cluster sent to Run's goroutine.
func (s *Scheduler) listen(ctx context.Context) (registrations []cache.ResourceEventHandlerRegistration, stop func(), err error) {
	core := s.config.Informers.Core().V1()
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	for _, h := range []struct {
		informer cache.SharedIndexInformer
		changed  func(old, now any)
		gone     func(any)
	}{
		{core.Pods().Informer(), s.podChanged, s.podGone},
		{core.Nodes().Informer(), s.nodeChanged, s.nodeGone},
		{core.Namespaces().Informer(), s.namespaceChanged, s.namespaceGone},
	} {
		r, err := h.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { s.send(ctx, func() { h.changed(nil, o) }) },
			UpdateFunc: func(old, o any) { s.send(ctx, func() { h.changed(old, o) }) },
			DeleteFunc: func(o any) {
				if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = tombstone.Obj
				}
				s.send(ctx, func() { h.gone(o) })
			},
		})
		if err != nil {
			stop()
			return nil, nil, err
		}
		registrations = append(registrations, r)
		stops = append(stops, func() { _ = h.informer.RemoveEventHandler(r) })
	}
	return registrations, stop, nil
}

func (s *Scheduler) podChanged(old, now any) {
	before, _ := old.(*v1.Pod)
	pod := now.(*v1.Pod)
	if before != nil && before.UID != pod.UID { // another of the same name
		s.podGone(before)
		before = nil
	}
	if pod.Spec.NodeName != "" || ended(pod) {
		s.takenPod(before, pod)
		return
	}
	if _, assumed := s.cluster.Placed(pod.UID); assumed {
		return
	}
	if !ours(pod) {
		s.queue.Remove(pod.UID)
		s.cluster.Nominate(pod, "")
		return
	}
	if before == nil && pod.Status.NominatedNodeName != "" || before != nil && before.Status.NominatedNodeName != pod.Status.NominatedNodeName {
		s.cluster.Nominate(pod, pod.Status.NominatedNodeName)
	}
	s.queue.Set(pod, ofUnboundChange(before, pod))
}

// takenPod is on a node, or was.
func (s *Scheduler) takenPod(before, pod *v1.Pod) {
	s.queue.Remove(pod.UID)
	s.cluster.Nominate(pod, "")
	s.cluster.SetPod(pod)
	if c := ofPodChange(before, pod); c != 0 {
		s.happenedOn(c, pod.Spec.NodeName)
	}
}

// ours: asked of this scheduler, not going away, and with no gate closed.
func ours(pod *v1.Pod) bool {
	return pod.Spec.SchedulerName == Name && pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0
}

func (s *Scheduler) podGone(o any) {
	pod := o.(*v1.Pod)
	_, placed := s.cluster.Placed(pod.UID)
	_, nominated := s.cluster.nominated[pod.UID]
	s.queue.Remove(pod.UID)
	s.cluster.Nominate(pod, "")
	s.cluster.RemovePod(pod.UID)
	if placed || nominated {
		s.happenedOn(ofGonePod, pod.Spec.NodeName)
	}
}

func (s *Scheduler) happenedOn(c Concern, nodeName string) {
	s.queue.Happened(c, func(p *podInfo, concerns Concern) bool { return s.cluster.mayFit(p, concerns, nodeName) })
}

func (s *Scheduler) nodeChanged(old, now any) {
	before, _ := old.(*v1.Node)
	node := now.(*v1.Node)
	s.cluster.SetNode(node)
	if c := ofNodeChange(before, node); c != 0 {
		s.happenedOn(c, node.Name)
	}
}

// nodeGone takes a place away, which can make others even.
func (s *Scheduler) nodeGone(o any) {
	s.cluster.RemoveNode(o.(*v1.Node).Name)
	s.queue.Happened(OfSpread, nil)
}

func (s *Scheduler) namespaceChanged(_, now any) {
	n := now.(*v1.Namespace)
	s.cluster.SetNamespace(n.Name, n.Labels)
	s.queue.Happened(OfAffinity, nil)
}

func (s *Scheduler) namespaceGone(o any) { s.cluster.RemoveNamespace(o.(*v1.Namespace).Name) }
