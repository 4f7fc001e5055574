package autoscale

import (
	"errors"
	"fmt"
	"math"
	"time"

	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Reading is what a metric came to; of its fields the metric's source fills one.
type Reading struct {
	Pods     map[string]sample // of resources and of pods' metrics, by pod
	Value    int64             // of objects
	External []int64
	Err      error
}

// tolerance is how far usage may be off its target.
type tolerance struct{ down, up float64 }

const usualTolerance = 0.1

func toleranceOf(b *v2.HorizontalPodAutoscalerBehavior) tolerance {
	t := tolerance{usualTolerance, usualTolerance}
	if b != nil && b.ScaleDown != nil && b.ScaleDown.Tolerance != nil {
		t.down = b.ScaleDown.Tolerance.AsApproximateFloat64()
	}
	if b != nil && b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
		t.up = b.ScaleUp.Tolerance.AsApproximateFloat64()
	}
	return t
}

func (t tolerance) holds(ratio float64) bool { return 1-t.down <= ratio && ratio <= 1+t.up }

// proposal of one metric.
type proposal struct {
	replicas int32
	metric   string // its name, in words
	status   v2.MetricStatus
}

// failure says why there is none.
type failure struct {
	reason string // of the condition and the event
	err    error  // of the event
	of     string // what is put before it for the autoscaler's own event
}

// situation is what all metrics are held against.
type situation struct {
	wanted, counted int32 // replicas in the spec and in the status of the scale
	pods            []*v1.Pod
	tolerance       tolerance
	now             time.Time
}

// propose how many replicas one metric asks for.
func propose(m *v2.MetricSpec, r Reading, s situation) (proposal, *failure) {
	switch m.Type {
	case v2.ResourceMetricSourceType:
		value, p, err := s.resource(m.Resource.Name, "", m.Resource.Target, r)
		if err != nil {
			return p, &failure{"FailedGetResourceMetric", err, fmt.Sprintf("failed to get %s resource metric value", m.Resource.Name)}
		}
		p.status = v2.MetricStatus{Type: m.Type, Resource: &v2.ResourceMetricStatus{Name: m.Resource.Name, Current: value}}
		return p, nil
	case v2.ContainerResourceMetricSourceType:
		c := m.ContainerResource
		value, p, err := s.resource(c.Name, c.Container, c.Target, r)
		if err != nil {
			return p, &failure{"FailedGetContainerResourceMetric", err, fmt.Sprintf("failed to get %s container metric value", c.Container)}
		}
		p.status = v2.MetricStatus{Type: m.Type, ContainerResource: &v2.ContainerResourceMetricStatus{Name: c.Name, Container: c.Container, Current: value}}
		return p, nil
	case v2.PodsMetricSourceType:
		p, err := s.podsMetric(m.Pods, r)
		if err != nil {
			return p, &failure{"FailedGetPodsMetric", err, "failed to get pods metric value"}
		}
		return p, nil
	case v2.ObjectMetricSourceType:
		p, err := s.object(m.Object, r)
		if err != nil {
			return p, &failure{"FailedGetObjectMetric", err, "failed to get object metric value"}
		}
		return p, nil
	case v2.ExternalMetricSourceType:
		p, err := s.external(m.External, r)
		if err != nil {
			return p, &failure{"FailedGetExternalMetric", err, fmt.Sprintf("failed to get %s external metric value", m.External.Metric.Name)}
		}
		return p, nil
	}
	return proposal{}, &failure{"InvalidMetricSourceType", fmt.Errorf("unknown metric source type %q", m.Type), ""}
}

func (s situation) resource(name v1.ResourceName, container string, target v2.MetricTarget, r Reading) (value v2.MetricValueStatus, p proposal, err error) {
	quantity := func(milli int64) *resource.Quantity {
		if name == v1.ResourceMemory {
			return resource.NewMilliQuantity(milli, resource.BinarySI)
		}
		return resource.NewMilliQuantity(milli, resource.DecimalSI)
	}
	switch {
	case target.AverageValue != nil:
		n, usage, err := s.average(r, name, target.AverageValue.MilliValue())
		if err != nil {
			return value, p, fmt.Errorf("failed to get %s usage: %w", name, err)
		}
		return v2.MetricValueStatus{AverageValue: quantity(usage)}, proposal{replicas: n, metric: fmt.Sprintf("%s resource", name)}, nil
	case target.AverageUtilization != nil:
		n, percent, usage, err := s.utilization(r, name, container, *target.AverageUtilization)
		if err != nil {
			return value, p, fmt.Errorf("failed to get %s utilization: %w", name, err)
		}
		of := "resource"
		if container != "" {
			of = "container resource"
		}
		return v2.MetricValueStatus{AverageUtilization: &percent, AverageValue: quantity(usage)},
			proposal{replicas: n, metric: fmt.Sprintf("%s %s utilization (percentage of request)", name, of)}, nil
	}
	return value, p, errors.New("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set")
}

var (
	errNoPods    = errors.New("no pods returned by selector while calculating replica count")
	errNoMetrics = errors.New("did not receive metrics for targeted pods (pods might be unready)")
)

// utilization of what pods request, in percent.
func (s situation) utilization(r Reading, name v1.ResourceName, container string, target int32) (n, percent int32, usage int64, err error) {
	if r.Err != nil {
		return 0, 0, 0, fmt.Errorf("unable to get metrics for resource %s: %w", name, r.Err)
	}
	g, err := s.grouped(r, name)
	if err != nil {
		return 0, 0, 0, err
	}
	requests, err := requestsOf(s.pods, container, name)
	if err != nil {
		return 0, 0, 0, err
	}
	ratio, percent, usage, err := ratioOfRequests(g.samples, requests, target)
	if err != nil {
		return 0, 0, 0, err
	}
	n = s.weigh(g, ratio,
		func(pod string) int64 { return requests[pod] * int64(max(100, target)) / 100 },
		func() float64 {
			again, _, _, err := ratioOfRequests(g.samples, requests, target)
			if err != nil {
				return ratio
			}
			return again
		})
	return n, percent, usage, nil
}

func ratioOfRequests(samples map[string]sample, requests map[string]int64, target int32) (ratio float64, percent int32, average int64, err error) {
	var used, asked, pods int64
	for name, m := range samples {
		if request, ok := requests[name]; ok {
			used, asked, pods = used+m.value, asked+request, pods+1
		}
	}
	if asked == 0 {
		return 0, 0, 0, errors.New("no metrics returned matched known pods")
	}
	percent = int32(used * 100 / asked)
	return float64(percent) / float64(target), percent, used / pods, nil
}

// average of pods' values.
func (s situation) average(r Reading, name v1.ResourceName, target int64) (n int32, usage int64, err error) {
	if r.Err != nil {
		return 0, 0, r.Err
	}
	g, err := s.grouped(r, name)
	if err != nil {
		return 0, 0, err
	}
	ratio := func() (float64, int64) {
		sum := int64(0)
		for _, m := range g.samples {
			sum += m.value
		}
		usage := sum / int64(len(g.samples))
		return float64(usage) / float64(target), usage
	}
	first, usage := ratio()
	return s.weigh(g, first, func(string) int64 { return target }, func() float64 { again, _ := ratio(); return again }), usage, nil
}

func (s situation) grouped(r Reading, name v1.ResourceName) (grouped, error) {
	if len(s.pods) == 0 {
		return grouped{}, errNoPods
	}
	g := group(s.pods, r.Pods, name, s.now)
	if len(g.samples) == 0 {
		return g, errNoMetrics
	}
	return g, nil
}

// weigh a ratio of usage to target. Pods of which nothing is known are assumed to
// be what keeps the number as it is: idle when it would grow, busy when it would
// shrink. busy is what one then uses; again is the ratio with those in.
func (s situation) weigh(g grouped, ratio float64, busy func(pod string) int64, again func() float64) int32 {
	grows := ratio > 1
	if (!grows || len(g.unready) == 0) && len(g.missing) == 0 {
		if s.tolerance.holds(ratio) {
			return s.wanted
		}
		return ceil(ratio * float64(g.ready))
	}
	for _, pod := range g.missing {
		switch {
		case grows:
			g.samples[pod] = sample{}
		case ratio < 1:
			g.samples[pod] = sample{value: busy(pod)}
		}
	}
	if grows {
		for _, pod := range g.unready {
			g.samples[pod] = sample{}
		}
	}
	now := again()
	if s.tolerance.holds(now) || ratio < 1 && now > 1 || ratio > 1 && now < 1 {
		return s.wanted
	}
	n := ceil(now * float64(len(g.samples)))
	if now < 1 && n > s.wanted || now > 1 && n < s.wanted {
		return s.wanted
	}
	return n
}

func (s situation) podsMetric(m *v2.PodsMetricSource, r Reading) (proposal, error) {
	if r.Err != nil {
		r.Err = fmt.Errorf("unable to get metric %s: %w", m.Metric.Name, r.Err)
	}
	n, usage, err := s.average(r, "", m.Target.AverageValue.MilliValue())
	return proposal{n, "pods metric " + m.Metric.Name, v2.MetricStatus{Type: v2.PodsMetricSourceType, Pods: &v2.PodsMetricStatus{
		Metric: m.Metric, Current: v2.MetricValueStatus{AverageValue: milli(usage)}}}}, err
}

func (s situation) object(m *v2.ObjectMetricSource, r Reading) (proposal, error) {
	status := func(value v2.MetricValueStatus) v2.MetricStatus {
		return v2.MetricStatus{Type: v2.ObjectMetricSourceType, Object: &v2.ObjectMetricStatus{DescribedObject: m.DescribedObject, Metric: m.Metric, Current: value}}
	}
	switch {
	case r.Err != nil:
		return proposal{}, fmt.Errorf("unable to get metric %s on %s %s: %w", m.Metric.Name, m.DescribedObject.Kind, m.DescribedObject.Name, r.Err)
	case m.Target.Type == v2.ValueMetricType && m.Target.Value != nil:
		n, err := s.total(r.Value, m.Target.Value.MilliValue())
		return proposal{n, fmt.Sprintf("%s metric %s", m.DescribedObject.Kind, m.Metric.Name), status(v2.MetricValueStatus{Value: milli(r.Value)})}, err
	case m.Target.Type == v2.AverageValueMetricType && m.Target.AverageValue != nil:
		n, usage := s.perPod(r.Value, m.Target.AverageValue.MilliValue())
		return proposal{n, fmt.Sprintf("external metric %s(%+v)", m.Metric.Name, m.Metric.Selector), status(v2.MetricValueStatus{AverageValue: milli(usage)})}, nil
	}
	return proposal{}, errors.New("invalid object metric source: neither a value target nor an average value target was set")
}

func (s situation) external(m *v2.ExternalMetricSource, r Reading) (proposal, error) {
	if r.Err != nil {
		return proposal{}, fmt.Errorf("unable to get external metric %s: %w", m.Metric.Name, r.Err)
	}
	sum := int64(0)
	for _, v := range r.External {
		if v > 0 && sum > math.MaxInt64-v {
			sum = math.MaxInt64
			break
		}
		sum += v
	}
	p := proposal{metric: fmt.Sprintf("external metric %s(%+v)", m.Metric.Name, m.Metric.Selector)}
	status := func(value v2.MetricValueStatus) v2.MetricStatus {
		return v2.MetricStatus{Type: v2.ExternalMetricSourceType, External: &v2.ExternalMetricStatus{Metric: m.Metric, Current: value}}
	}
	var err error
	switch {
	case m.Target.AverageValue != nil:
		n, usage := s.perPod(sum, m.Target.AverageValue.MilliValue())
		p.replicas, p.status = n, status(v2.MetricValueStatus{AverageValue: milli(usage)})
	case m.Target.Value != nil:
		p.replicas, err = s.total(sum, m.Target.Value.MilliValue())
		p.status = status(v2.MetricValueStatus{Value: milli(sum)})
	default:
		err = errors.New("invalid external metric source: neither a value target nor an average value target was set")
	}
	return p, err
}

// total: a value for all pods together. From none there may be any number.
func (s situation) total(usage, target int64) (int32, error) {
	ratio := float64(usage) / float64(target)
	switch {
	case s.wanted == 0:
		return ceil(ratio), nil
	case s.tolerance.holds(ratio):
		return s.wanted, nil
	case len(s.pods) == 0:
		return 0, fmt.Errorf("unable to calculate ready pods: %w", errNoPods)
	}
	return ceil(ratio * float64(readyPods(s.pods))), nil
}

// perPod: a value that is shared out among the pods.
func (s situation) perPod(usage, target int64) (n int32, each int64) {
	n = s.counted
	if !s.tolerance.holds(float64(usage) / (float64(target) * float64(n))) {
		n = ceil(float64(usage) / float64(target))
	}
	if s.counted == 0 {
		return n, 0
	}
	return n, int64(math.Ceil(float64(usage) / float64(s.counted)))
}

func ceil(n float64) int32 {
	if n = math.Ceil(n); n > math.MaxInt32 {
		return math.MaxInt32
	}
	return int32(n)
}

func milli(n int64) *resource.Quantity { return resource.NewMilliQuantity(n, resource.DecimalSI) }
