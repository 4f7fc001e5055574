package job

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// Back-off of replacements after failures.
const (
	firstBackoff = 10 * time.Second
	lastBackoff  = 10 * time.Minute
)

// backoff counts the failures since the last success.
type backoff struct {
	failures int
	last     time.Time
}

// after gives the back-off after some more pods have ended.
func (b backoff) after(succeeded, failed []*v1.Pod) backoff {
	var lastSuccess time.Time
	for _, p := range succeeded {
		b = backoff{}
		if t := endOf(p); t.After(lastSuccess) {
			lastSuccess = t
		}
	}
	for _, p := range failed {
		t := endOf(p)
		if len(succeeded) > 0 && !t.After(lastSuccess) {
			continue
		}
		b.failures++
		if t.After(b.last) {
			b.last = t
		}
	}
	return b
}

// wait until the next pod may start.
func (b backoff) wait(now time.Time) time.Duration {
	if b.failures == 0 {
		return 0
	}
	d := firstBackoff
	for i := 1; i < b.failures && d < lastBackoff; i++ {
		d *= 2
	}
	return max(0, min(d, lastBackoff)-now.Sub(b.last))
}

// indexWait is the wait of one index, whose last failed pod is given.
func indexWait(p *v1.Pod, now time.Time) time.Duration {
	if p == nil {
		return 0
	}
	counted, ignored := failures(p)
	return backoff{failures: counted + ignored + 1, last: endOf(p)}.wait(now)
}

// endOf a pod: when its last container ended, or the best guess at it.
func endOf(p *v1.Pod) time.Time {
	if t, ok := containersEnd(p); ok {
		return t
	}
	if c := podcontrol.Condition(p, v1.PodReady); c != nil && c.Status == v1.ConditionFalse && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if p.DeletionTimestamp != nil {
		grace := int64(0)
		if p.DeletionGracePeriodSeconds != nil {
			grace = *p.DeletionGracePeriodSeconds
		}
		return p.DeletionTimestamp.Add(-time.Duration(grace) * time.Second)
	}
	return p.CreationTimestamp.Time
}

func containersEnd(p *v1.Pod) (last time.Time, ok bool) {
	statuses := slices.Clone(p.Status.ContainerStatuses)
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == nil || *c.RestartPolicy != v1.ContainerRestartPolicyAlways {
			continue
		}
		for _, s := range p.Status.InitContainerStatuses {
			if s.Name == c.Name {
				statuses = append(statuses, s)
			}
		}
	}
	for _, s := range statuses {
		if s.State.Terminated == nil || s.State.Terminated.FinishedAt.IsZero() {
			return time.Time{}, false
		}
		if t := s.State.Terminated.FinishedAt.Time; t.After(last) {
			last = t
		}
	}
	return last, len(statuses) > 0
}
