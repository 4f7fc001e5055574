package autoscale

import (
	"fmt"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

var start = time.Unix(1_800_000_000, 0)

func pointer[T any](v T) *T { return &v }

func cpu(percent int32) v2.MetricSpec {
	return v2.MetricSpec{Type: v2.ResourceMetricSourceType, Resource: &v2.ResourceMetricSource{Name: v1.ResourceCPU, Target: v2.MetricTarget{Type: v2.UtilizationMetricType, AverageUtilization: &percent}}}
}

func queue(perPod string) v2.MetricSpec {
	q := resource.MustParse(perPod)
	return v2.MetricSpec{Type: v2.ExternalMetricSourceType, External: &v2.ExternalMetricSource{Metric: v2.MetricIdentifier{Name: "queue"}, Target: v2.MetricTarget{Type: v2.AverageValueMetricType, AverageValue: &q}}}
}

func autoscaler(least, most int32, metrics ...v2.MetricSpec) *v2.HorizontalPodAutoscaler {
	return &v2.HorizontalPodAutoscaler{Spec: v2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: most, Metrics: metrics}}
}

// fleet of ready pods that each ask for one CPU and run for an hour; used is what
// each uses in percent of it: "-" is unknown, "u…" that it is not ready.
func fleet(used ...string) (pods []*v1.Pod, r Reading) {
	r.Pods = map[string]sample{}
	for i, u := range used {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i)}}
		p.Spec.Containers = []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}}}}
		began := metav1.NewTime(start.Add(-time.Hour))
		p.Status = v1.PodStatus{Phase: v1.PodRunning, StartTime: &began, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: began}}}
		pods = append(pods, p)
		if u[0] == 'u' {
			p.Status.Conditions[0].Status, u = v1.ConditionFalse, u[1:]
		}
		if percent := int64(0); u != "-" {
			if _, err := fmt.Sscan(u, &percent); err != nil {
				panic(err)
			}
			r.Pods[p.Name] = sample{percent * 10, start, time.Minute}
		}
	}
	return pods, r
}

func TestW6Decisions(t *testing.T) {
	for name, c := range map[string]struct {
		autoscaler *v2.HorizontalPodAutoscaler
		current    int32
		used       []string
		queue      int64 // of the external metric, if there is one
		want       int32
		reason     string // of ScalingActive or ScalingLimited
	}{
		"twice the target":                    {autoscaler(1, 10, cpu(50)), 2, []string{"100", "100"}, 0, 4, "ValidMetricFound"},
		"within tolerance":                    {autoscaler(1, 10, cpu(50)), 2, []string{"54", "54"}, 0, 2, "ValidMetricFound"},
		"half the target":                     {autoscaler(1, 10, cpu(50)), 4, []string{"25", "25", "25", "25"}, 0, 4, "ValidMetricFound"}, // the first turn remembers 4
		"no faster than double":               {autoscaler(1, 100, cpu(10)), 3, []string{"100", "100", "100"}, 0, 6, "ScaleUpLimit"},
		"four at once from one":               {autoscaler(1, 100, cpu(10)), 1, []string{"100"}, 0, 4, "ScaleUpLimit"},
		"not over the maximum":                {autoscaler(1, 3, cpu(50)), 2, []string{"100", "100"}, 0, 3, "TooManyReplicas"},
		"above the maximum, whatever is used": {autoscaler(1, 3, cpu(50)), 5, nil, 0, 3, ""},
		"below the minimum":                   {autoscaler(2, 5, cpu(50)), 1, nil, 0, 2, ""},
		"switched off at zero":                {autoscaler(1, 5, cpu(50)), 0, nil, 0, 0, "ScalingDisabled"},
		"an unready pod counts as idle":       {autoscaler(1, 10, cpu(50)), 2, []string{"100", "u-"}, 0, 2, "ValidMetricFound"},
		"a missing pod counts as busy":        {autoscaler(1, 10, cpu(50)), 2, []string{"20", "-"}, 0, 2, "ValidMetricFound"},
		"no metrics at all":                   {autoscaler(1, 10, cpu(50)), 2, []string{"-", "-"}, 0, -1, "FailedGetResourceMetric"},
		"the metric that asks for more":       {autoscaler(1, 10, cpu(50), queue("10")), 2, []string{"50", "50"}, 35, 4, "ValidMetricFound"},
		"one metric fails, the other grows":   {autoscaler(1, 10, cpu(50), queue("10")), 2, []string{"-", "-"}, 35, 4, "ValidMetricFound"},
		"one fails, the other would shrink":   {autoscaler(1, 10, cpu(50), queue("10")), 2, []string{"-", "-"}, 5, -1, "FailedGetResourceMetric"},
	} {
		t.Run(name, func(t *testing.T) {
			pods, r := fleet(c.used...)
			out := Decide(Input{
				Autoscaler: c.autoscaler, Scale: scaleOf(c.current), Pods: pods, Now: start,
				Readings: []Reading{r, {External: []int64{c.queue * 1000}}},
			})
			got := out.Replicas
			if out.Err != nil && !out.Rescale && out.Why == "" {
				got = -1
			}
			if got != c.want {
				t.Errorf("%d replicas, want %d: %v, %+v", got, c.want, out.Err, out.Status.Conditions)
			}
			if c.reason != "" && !hasReason(out.Status, c.reason) {
				t.Errorf("no condition says %s: %+v", c.reason, out.Status.Conditions)
			}
		})
	}
}

func scaleOf(n int32) *autoscalingv1.Scale {
	return &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: n}, Status: autoscalingv1.ScaleStatus{Replicas: n}}
}

func hasReason(s v2.HorizontalPodAutoscalerStatus, reason string) bool {
	for _, c := range s.Conditions {
		if c.Reason == reason {
			return true
		}
	}
	return false
}

// A load that goes away is believed after five minutes.
func TestW6ShrinksAfterAWhile(t *testing.T) {
	a, h, now, current := autoscaler(1, 10, cpu(50)), History{}, start, int32(4)
	for now.Before(start.Add(10 * time.Minute)) {
		pods, r := fleet("5", "5", "5", "5")
		out := Decide(Input{Autoscaler: a, Scale: scaleOf(current), Pods: pods[:current], Readings: []Reading{keep(r, current)}, History: h, Now: now})
		h = out.History
		if out.Rescale {
			if now.Before(start.Add(stabilization)) {
				t.Fatalf("shrunk after %v", now.Sub(start))
			}
			current = out.Replicas
		}
		now = now.Add(15 * time.Second)
	}
	if current != 1 {
		t.Errorf("%d replicas after ten idle minutes", current)
	}
}

func keep(r Reading, n int32) Reading {
	out := Reading{Pods: map[string]sample{}}
	for i := range n {
		name := fmt.Sprint("p", i)
		out.Pods[name] = r.Pods[name]
	}
	return out
}

func TestW6Behavior(t *testing.T) {
	rules := func(window int32, choice v2.ScalingPolicySelect, policies ...v2.HPAScalingPolicy) *v2.HPAScalingRules {
		return &v2.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &choice, Policies: policies}
	}
	pods := func(n, seconds int32) v2.HPAScalingPolicy {
		return v2.HPAScalingPolicy{Type: v2.PodsScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	percent := func(n, seconds int32) v2.HPAScalingPolicy {
		return v2.HPAScalingPolicy{Type: v2.PercentScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	maximum, minimum, never := v2.MaxChangePolicySelect, v2.MinChangePolicySelect, v2.DisabledPolicySelect
	for name, c := range map[string]struct {
		up, down         *v2.HPAScalingRules
		current, desired int32
		history          History
		want             int32
	}{
		"two pods a minute":              {rules(0, maximum, pods(2, 60)), rules(0, maximum, percent(100, 15)), 3, 9, History{}, 5},
		"two were added just now":        {rules(0, maximum, pods(2, 60)), rules(0, maximum, percent(100, 15)), 5, 9, History{up: []event{{2, start.Add(-30 * time.Second)}}}, 5},
		"that was long ago":              {rules(0, maximum, pods(2, 60)), rules(0, maximum, percent(100, 15)), 5, 9, History{up: []event{{2, start.Add(-90 * time.Second)}}}, 7},
		"the larger of two policies":     {rules(0, maximum, pods(1, 60), percent(100, 60)), rules(0, maximum), 4, 20, History{}, 8},
		"the smaller of two policies":    {rules(0, minimum, pods(1, 60), percent(100, 60)), rules(0, maximum), 4, 20, History{}, 5},
		"never up":                       {rules(0, never), rules(0, maximum, percent(100, 15)), 4, 20, History{}, 4},
		"never down":                     {rules(0, maximum, percent(100, 15)), rules(0, never), 4, 1, History{}, 4},
		"a tenth down":                   {rules(0, maximum, percent(100, 15)), rules(0, maximum, percent(10, 60)), 20, 1, History{}, 18},
		"the lowest of the up window":    {rules(120, maximum, percent(900, 15)), rules(0, maximum, percent(100, 15)), 2, 9, History{recommended: []event{{3, start.Add(-time.Minute)}}}, 3},
		"the highest of the down window": {rules(0, maximum, percent(900, 15)), rules(120, maximum, percent(100, 15)), 9, 2, History{recommended: []event{{7, start.Add(-time.Minute)}}}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			l := limit(&v2.HorizontalPodAutoscalerBehavior{ScaleUp: c.up, ScaleDown: c.down}, bounds{c.current, c.desired, 1, 30}, c.history, start)
			if l.replicas != c.want {
				t.Errorf("%d, want %d: %s, %s", l.replicas, c.want, l.able, l.limit)
			}
		})
	}
}

func TestW6ToZeroAndBack(t *testing.T) {
	a := autoscaler(0, 10, queue("10"))
	out := Decide(Input{Autoscaler: a, Scale: scaleOf(1), Readings: []Reading{{External: []int64{0}}}, History: History{recommended: []event{{0, start.Add(-time.Hour)}}}, Now: start})
	if !out.Rescale || out.Replicas != 0 {
		t.Fatalf("an empty queue: %+v", out)
	}
	out = Rescaled(out, a, start)
	a.Status = out.Status
	out = Decide(Input{Autoscaler: a, Scale: scaleOf(0), Readings: []Reading{{External: []int64{25_000}}}, History: out.History, Now: start.Add(time.Minute)})
	if !out.Rescale || out.Replicas != 3 {
		t.Errorf("25 in the queue: %d replicas, %+v", out.Replicas, out.Status.Conditions)
	}
}

// Whatever is used and whatever was: the number stays within its bounds, and the
// same look at a settled fleet changes nothing.
func TestDecisionsStayInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.Int32Range(1, 5).Draw(t, "least")
		a := autoscaler(least, least+rapid.Int32Range(0, 20).Draw(t, "more"), cpu(rapid.Int32Range(1, 200).Draw(t, "target")))
		if rapid.Bool().Draw(t, "behavior") {
			choice := rapid.SampledFrom([]v2.ScalingPolicySelect{v2.MaxChangePolicySelect, v2.MinChangePolicySelect, v2.DisabledPolicySelect}).Draw(t, "choice")
			rules := &v2.HPAScalingRules{StabilizationWindowSeconds: pointer(rapid.Int32Range(0, 300).Draw(t, "window")), SelectPolicy: &choice,
				Policies: []v2.HPAScalingPolicy{{Type: v2.PodsScalingPolicy, Value: rapid.Int32Range(1, 9).Draw(t, "value"), PeriodSeconds: 60}}}
			a.Spec.Behavior = &v2.HorizontalPodAutoscalerBehavior{ScaleUp: rules, ScaleDown: rules}
		}
		h, now, current := History{}, start, rapid.Int32Range(1, 30).Draw(t, "current")
		for range rapid.IntRange(1, 20).Draw(t, "turns") {
			used := make([]string, current)
			for i := range used {
				used[i] = rapid.SampledFrom([]string{"0", "10", "50", "100", "300", "-", "u10", "u-"}).Draw(t, "used")
			}
			pods, r := fleet(used...)
			out := Decide(Input{Autoscaler: a, Scale: scaleOf(current), Pods: pods, Readings: []Reading{r}, History: h, Now: now})
			h = out.History
			if out.Rescale {
				if out.Replicas < least || out.Replicas > a.Spec.MaxReplicas {
					t.Fatalf("%d replicas, bounds are %d and %d", out.Replicas, least, a.Spec.MaxReplicas)
				}
				h, current = h.Scaled(a.Spec.Behavior, current, out.Replicas, now), out.Replicas
			}
			now = now.Add(15 * time.Second)
		}
	})
}
