package scheduler

import (
	"context"
	"log/slog"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
)

// unfit has a pod wait that fits nowhere now, and clears a node for it if its
// priority is worth that.
func (s *Scheduler) unfit(ctx context.Context, pod *v1.Pod, why *Unfit) {
	var found *Preemption
	nomination, nodeName := Clear, ""
	if len(s.cluster.present()) > 0 {
		budgets, err := s.listers.budgets.List(labels.Everything())
		if err != nil {
			budgets = nil // a lister in memory has no errors
		}
		found, nomination = why.Preempt(budgets, s.tried)
	}
	if nomination == Set {
		nodeName = found.Node
		s.makeWay(pod, nodeName)
		go s.end(ctx, pod, found)
	}
	if nomination != Keep && !s.cluster.Nominate(pod, nodeName) {
		nomination = Keep
	}
	s.queue.Unfit(pod.UID, why.Concerns(), s.config.Clock.Now())
	s.teller.say(pod, answer{v1.PodReasonUnschedulable, why.Error(), nomination, nodeName})
}

// makeWay takes the nomination from pods of lower priority: they look elsewhere
// now instead of waiting for what they won't get.
func (s *Scheduler) makeWay(pod *v1.Pod, nodeName string) {
	for uid, p := range s.cluster.nominated {
		if uid == pod.UID || p.node.name != nodeName || p.priority >= corev1.PodPriority(pod) {
			continue
		}
		s.cluster.Nominate(p.Pod, "")
		s.queue.Ready(uid)
		s.teller.say(p.Pod, answer{nomination: Clear})
	}
}

// end the pods that make room.
func (s *Scheduler) end(ctx context.Context, pod *v1.Pod, p *Preemption) {
	for _, victim := range p.Victims {
		if victim.DeletionTimestamp != nil {
			continue
		}
		patchStatus(ctx, s.config.Client, victim, map[string]any{"conditions": []v1.PodCondition{{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonPreemptionByScheduler,
			Message:            Name + ": preempting to accommodate a higher priority pod",
			LastTransitionTime: metav1.NewTime(s.config.Clock.Now()), ObservedGeneration: victim.Generation,
		}}})
		err := s.config.Client.CoreV1().Pods(victim.Namespace).Delete(ctx, victim.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(victim.UID))})
		switch {
		case err == nil:
			s.config.Recorder.Eventf(victim, v1.EventTypeNormal, "Preempted", "Preempted by pod %s on node %s", pod.UID, p.Node)
		case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil:
			slog.Warn("A pod in the way could not be ended", "pod", victim.Namespace+"/"+victim.Name, "err", err)
			s.send(ctx, func() { s.queue.Happened(OfAll, nil) }) // think again
			return
		}
	}
}
