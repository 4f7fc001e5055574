package scheduler

import (
	"context"
	"log/slog"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bind runs beside the scheduler: volumes first, then the pod.
func (s *Scheduler) bind(ctx context.Context, pod *v1.Pod, nodeName string, reserved Reservation) {
	err := s.bindBoth(ctx, pod, nodeName, reserved)
	if err == nil {
		s.config.Recorder.Eventf(pod, v1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, nodeName)
		return
	}
	if ctx.Err() != nil {
		return
	}
	s.send(ctx, func() {
		if reserved != nil {
			reserved.Release()
		}
		s.unassume(pod, err)
	})
}

func (s *Scheduler) bindBoth(ctx context.Context, pod *v1.Pod, nodeName string, reserved Reservation) error {
	if reserved != nil {
		if err := reserved.Bind(ctx); err != nil {
			return err
		}
	}
	select {
	case s.binding <- struct{}{}:
		defer func() { <-s.binding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.config.Client.CoreV1().Pods(pod.Namespace).Bind(ctx, &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
}

// unassume takes a pod off the node that it was not bound to. It is tried again,
// unless it is gone or was bound by another: then the informer tells.
func (s *Scheduler) unassume(pod *v1.Pod, err error) {
	s.cluster.RemovePod(pod.UID)
	s.queue.Happened(ofGonePod, nil)
	now, lost := s.config.Informers.Core().V1().Pods().Lister().Pods(pod.Namespace).Get(pod.Name)
	if lost != nil || now.UID != pod.UID {
		s.queue.Remove(pod.UID)
		return
	}
	s.podChanged(now, now)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		s.queue.Failed(pod.UID, s.config.Clock.Now())
	} else if s.queue.Has(pod.UID) {
		s.broken(now, err)
	}
}

// broken: the pod could not be placed though it may well fit.
func (s *Scheduler) broken(pod *v1.Pod, err error) {
	slog.Warn("Scheduling failed", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	s.queue.Failed(pod.UID, s.config.Clock.Now())
	s.teller.say(pod, answer{reason: v1.PodReasonSchedulerError, message: err.Error()})
}
