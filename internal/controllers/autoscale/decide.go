package autoscale

import (
	"errors"
	"fmt"
	"slices"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Input is all that a decision knows.
type Input struct {
	Autoscaler *v2.HorizontalPodAutoscaler
	Scale      *autoscalingv1.Scale
	Pods       []*v1.Pod // those that the scale selects
	Selected   error     // why the pods can't be told; *Refusal
	Readings   []Reading // one a metric, in their order; none if they are not needed
	History    History
	Now        time.Time
}

// Refusal is a reason not to scale that the user must mend.
type Refusal struct {
	Event, Reason    string // of the event and of condition ScalingActive
	Message, Meaning string // the event's and the condition's text
}

func (r *Refusal) Error() string { return r.Message }

// Output is what follows.
type Output struct {
	Replicas int32
	Rescale  bool
	Why      string // the rescaling
	Status   v2.HorizontalPodAutoscalerStatus
	Events   []Event
	History  History
	Err      error // there may be one although it is rescaled: some metrics failed
}

// Event to be told, beside those of the rescaling itself.
type Event struct{ Type, Reason, Message string }

// Needs says that metrics must be read: the replicas alone do not decide.
func Needs(a *v2.HorizontalPodAutoscaler, current int32) bool {
	switch {
	case current == 0:
		return wakesUp(a)
	case current > a.Spec.MaxReplicas, current < minReplicas(a):
		return false
	}
	return true
}

// wakesUp: what was scaled to zero by an autoscaler it may also bring back; what
// somebody else did stays.
func wakesUp(a *v2.HorizontalPodAutoscaler) bool {
	slept := slices.ContainsFunc(a.Status.Conditions, func(c v2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == v2.ScaledToZero && c.Status == v1.ConditionTrue
	})
	return slept && (minReplicas(a) != 0 || seesWithoutPods(a))
}

func seesWithoutPods(a *v2.HorizontalPodAutoscaler) bool {
	return slices.ContainsFunc(a.Spec.Metrics, func(m v2.MetricSpec) bool {
		return m.Type == v2.ObjectMetricSourceType || m.Type == v2.ExternalMetricSourceType
	})
}

func minReplicas(a *v2.HorizontalPodAutoscaler) int32 {
	if a.Spec.MinReplicas == nil {
		return 1
	}
	return *a.Spec.MinReplicas
}

// decision is one in the making.
type decision struct {
	in      Input
	out     Output
	current int32
}

// Decide how many replicas there shall be.
func Decide(in Input) Output {
	d := &decision{in: in, current: in.Scale.Spec.Replicas}
	d.out.Status, d.out.History = *in.Autoscaler.Status.DeepCopy(), in.History
	if len(d.out.History.recommended) == 0 {
		d.out.History.recommended = []event{{d.current, in.Now}}
	}
	d.set(v2.AbleToScale, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	desired, metrics, ok := d.desired()
	if !ok {
		d.finish(d.out.Status.DesiredReplicas, metrics)
		return d.out
	}
	d.out.Replicas, d.out.Rescale = desired, desired != d.current
	d.finish(desired, metrics)
	return d.out
}

func (d *decision) desired() (n int32, metrics []v2.MetricStatus, ok bool) {
	a := d.in.Autoscaler
	switch least := minReplicas(a); {
	case d.current == 0 && !wakesUp(a):
		d.set(v2.ScalingActive, false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
		return 0, nil, true
	case d.current > a.Spec.MaxReplicas:
		d.out.Why = "Current number of replicas above Spec.MaxReplicas"
		return a.Spec.MaxReplicas, nil, true
	case d.current != 0 && d.current < least:
		d.out.Why = "Current number of replicas below Spec.MinReplicas"
		return least, nil, true
	}
	return d.byMetrics()
}

// byMetrics: the one that asks for most decides.
func (d *decision) byMetrics() (n int32, statuses []v2.MetricStatus, ok bool) {
	a := d.in.Autoscaler
	proposed, metric, statuses, err := d.propose()
	if err != nil {
		d.out.Err = err
		if proposed < 0 {
			d.tell("FailedComputeMetricsReplicas", err.Error())
			return 0, statuses, false
		}
	}
	switch {
	case proposed > d.current:
		d.out.Why = metric + " above target"
	case proposed < d.current:
		d.out.Why = "All metrics below target"
	}
	least := minReplicas(a)
	l := limit(a.Spec.Behavior, bounds{d.current, proposed, least, a.Spec.MaxReplicas}, d.out.History, d.in.Now)
	d.out.History = l.history
	d.set(v2.AbleToScale, true, l.ableReason, l.able)
	d.set(v2.ScalingLimited, l.isLimited, l.limitReason, l.limit)
	n = l.replicas
	if d.current == 0 && n < least {
		n = least
		if d.out.Why == "" {
			d.out.Why = "Current number of replicas below Spec.MinReplicas"
		}
	}
	return n, statuses, true
}

// propose by all metrics; -1 if too many of them failed to decide anything.
func (d *decision) propose() (most int32, metric string, statuses []v2.MetricStatus, err error) {
	if d.in.Selected != nil {
		var refusal *Refusal
		if errors.As(d.in.Selected, &refusal) {
			d.tell(refusal.Event, refusal.Message)
			d.set(v2.ScalingActive, false, refusal.Reason, refusal.Meaning)
		}
		return -1, "", nil, d.in.Selected
	}
	specs := d.in.Autoscaler.Spec.Metrics
	s := situation{d.current, d.in.Scale.Status.Replicas, d.in.Pods, toleranceOf(d.in.Autoscaler.Spec.Behavior), d.in.Now}
	statuses = make([]v2.MetricStatus, len(specs))
	var first *failure
	failures := 0
	for i := range specs {
		p, failed := propose(&specs[i], d.in.Readings[i], s)
		if failed != nil {
			d.tell(failed.reason, failed.err.Error())
			if failures++; first == nil {
				first = failed
			}
			continue
		}
		statuses[i] = p.status
		if most == 0 || p.replicas > most {
			most, metric = p.replicas, p.metric
		}
	}
	if first != nil {
		of := first.err
		if first.of != "" {
			of = fmt.Errorf("%s: %w", first.of, first.err)
		}
		err = fmt.Errorf("invalid metrics (%d invalid out of %d), first error is: %w", failures, len(specs), of)
	}
	// With some metrics missing it may grow, but not shrink: they could ask for more.
	if failures >= len(specs) || failures > 0 && most < d.current {
		d.set(v2.ScalingActive, false, first.reason, fmt.Sprintf("the HPA was unable to compute the replica count: %v", first.err))
		return -1, "", statuses, err
	}
	d.set(v2.ScalingActive, true, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from "+metric)
	return most, metric, statuses, err
}

func (d *decision) tell(reason, message string) {
	d.out.Events = append(d.out.Events, Event{v1.EventTypeWarning, reason, message})
}

func (d *decision) finish(desired int32, metrics []v2.MetricStatus) {
	generation := d.in.Autoscaler.Generation
	s := &d.out.Status
	s.ObservedGeneration, s.CurrentReplicas, s.DesiredReplicas, s.CurrentMetrics = &generation, d.current, desired, metrics
}

func (d *decision) set(t v2.HorizontalPodAutoscalerConditionType, yes bool, reason, message string) {
	setCondition(&d.out.Status, t, yes, reason, message, d.in.Now)
}

func setCondition(s *v2.HorizontalPodAutoscalerStatus, t v2.HorizontalPodAutoscalerConditionType, yes bool, reason, message string, now time.Time) {
	c := v2.HorizontalPodAutoscalerCondition{Type: t, Status: v1.ConditionFalse, LastTransitionTime: metav1.NewTime(now), Reason: reason, Message: message}
	if yes {
		c.Status = v1.ConditionTrue
	}
	i := slices.IndexFunc(s.Conditions, func(have v2.HorizontalPodAutoscalerCondition) bool { return have.Type == t })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return
	}
	if s.Conditions[i].Status == c.Status {
		c.LastTransitionTime = s.Conditions[i].LastTransitionTime
	}
	s.Conditions[i] = c
}

// Rescaled is the status after the scale was set.
func Rescaled(out Output, a *v2.HorizontalPodAutoscaler, now time.Time) Output {
	from := out.Status.CurrentReplicas
	at := metav1.NewTime(now)
	out.Status.LastScaleTime = &at
	setCondition(&out.Status, v2.AbleToScale, true, "SucceededRescale", fmt.Sprintf("the HPA controller was able to update the target scale to %d", out.Replicas), now)
	if from > 0 && out.Replicas == 0 && minReplicas(a) == 0 && seesWithoutPods(a) {
		setCondition(&out.Status, v2.ScaledToZero, true, "ScaledToZero", "the HPA controller scaled the workload to zero", now)
	} else {
		setCondition(&out.Status, v2.ScaledToZero, false, "NotScaledToZero", "the HPA controller did not scale the workload to zero", now)
	}
	out.Events = append(out.Events, Event{v1.EventTypeNormal, "SuccessfulRescale", fmt.Sprintf("New size: %d; reason: %s", out.Replicas, out.Why)})
	out.History = out.History.Scaled(a.Spec.Behavior, from, out.Replicas, now)
	return out
}

// NotRescaled is the status when the scale could not be set.
func NotRescaled(out Output, a *v2.HorizontalPodAutoscaler, err error, now time.Time) Output {
	setCondition(&out.Status, v2.AbleToScale, false, "FailedUpdateScale", fmt.Sprintf("the HPA controller was unable to update the target scale: %v", err), now)
	out.Status.DesiredReplicas = a.Status.DesiredReplicas
	out.Events = append(out.Events, Event{v1.EventTypeWarning, "FailedRescale", fmt.Sprintf("New size: %d; reason: %s; error: %v", out.Replicas, out.Why, err)})
	return out
}

// Unscalable is the status when the scale could not even be read.
func Unscalable(a *v2.HorizontalPodAutoscaler, err error, now time.Time) Output {
	out := Output{Status: *a.Status.DeepCopy(), Err: err}
	setCondition(&out.Status, v2.AbleToScale, false, "FailedGetScale", fmt.Sprintf("the HPA controller was unable to get the target's current scale: %v", err), now)
	out.Events = []Event{{v1.EventTypeWarning, "FailedGetScale", err.Error()}}
	return out
}
