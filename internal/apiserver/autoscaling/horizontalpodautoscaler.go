package autoscaling

import (
	"fmt"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A HorizontalPodAutoscaler sets the replicas of something by what its pods are
// measured to do. v2 is what is stored and what the rules are written for.
func horizontalPodAutoscalersV2() resource.Resource {
	spec := autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: autoscalingv2.SchemeGroupVersion,
		Name:         "horizontalpodautoscalers",
		Singular:     "horizontalpodautoscaler",
		Kind:         "HorizontalPodAutoscaler",
		ShortNames:   []string{"hpa"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscaler{} },
		NewList:      func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
		Generation:   true,
		Default:      meta.Default(defaultHPA),
		Prepare:      meta.Prepare(defaultHPA), // once more, for what was written in v1
		Check:        meta.Check(func(h *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList { return checkHPA(h, nil) }),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(h, _ *autoscalingv2.HorizontalPodAutoscaler) { defaultHPA(h) }),
			CheckUpdate:   meta.CheckUpdate(checkHPA),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkHPAStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Reference", spec["scaleTargetRef"]),
			meta.String("Targets", spec["metrics"]),
			meta.String("MinPods", spec["minReplicas"]),
			meta.String("MaxPods", spec["maxReplicas"]),
			meta.String("Replicas", autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc()["currentReplicas"]),
			meta.Created(),
		),
		Row: meta.Row(hpaRow),
	}
}

// horizontalPodAutoscalersV1 is the same kind as it first was: only CPU has a
// field, the rest travels in annotations. It is v2 to everything but the wire.
func horizontalPodAutoscalersV1() resource.Resource {
	r := horizontalPodAutoscalersV2()
	r.GroupVersion = autoscalingv1.SchemeGroupVersion
	r.New = func() runtime.Object { return &autoscalingv1.HorizontalPodAutoscaler{} }
	r.NewList = func() runtime.Object { return &autoscalingv1.HorizontalPodAutoscalerList{} }
	r.Default = meta.Default(func(h *autoscalingv1.HorizontalPodAutoscaler) { meta.SetDefault(&h.Spec.MinReplicas, 1) })
	r.Prepare, r.Check, r.Columns, r.Row = nil, nil, nil, nil
	r.Update = resource.Update{Reset: r.Update.Reset, Unconditional: true}
	r.Subresources = map[string]resource.Update{"status": {Reset: [][]string{{"spec"}}, Unconditional: true}}
	return r
}

// defaultUtilization is how busy pods may be when nobody says, in percent of
// their CPU request.
const defaultUtilization = 80

func defaultHPA(h *autoscalingv2.HorizontalPodAutoscaler) {
	meta.SetDefault(&h.Spec.MinReplicas, 1)
	if len(h.Spec.Metrics) == 0 {
		utilization := int32(defaultUtilization)
		h.Spec.Metrics = []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{
				Name:   corev1.ResourceCPU,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &utilization},
			},
		}}
	}
	if behavior := h.Spec.Behavior; behavior != nil {
		// Up at once, by the double or four pods each 15 s, whichever is more;
		// down by anything, once the cluster's own window has passed.
		meta.SetDefault(&behavior.ScaleUp, autoscalingv2.HPAScalingRules{})
		meta.SetDefault(&behavior.ScaleUp.StabilizationWindowSeconds, 0)
		defaultRules(behavior.ScaleUp,
			autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
			autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
		meta.SetDefault(&behavior.ScaleDown, autoscalingv2.HPAScalingRules{})
		defaultRules(behavior.ScaleDown,
			autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
	}
}

func defaultRules(rules *autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) {
	meta.SetDefault(&rules.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if rules.Policies == nil {
		rules.Policies = policies
	}
}

func hpaRow(h *autoscalingv2.HorizontalPodAutoscaler, now metav1.Time) []any {
	least := meta.Unset
	if h.Spec.MinReplicas != nil {
		least = fmt.Sprint(*h.Spec.MinReplicas)
	}
	return []any{
		h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, targetsCell(h.Spec.Metrics, h.Status.CurrentMetrics),
		least, int64(h.Spec.MaxReplicas), int64(h.Status.CurrentReplicas), meta.Age(h.CreationTimestamp, now),
	}
}

// targetsCell shows "current/target" of the first two metrics. The statuses are
// in the order of the specs.
func targetsCell(specs []autoscalingv2.MetricSpec, statuses []autoscalingv2.MetricStatus) string {
	const shown = 2
	if len(specs) == 0 {
		return meta.None
	}
	var cells []string
	for i := range specs {
		var status autoscalingv2.MetricStatus
		if i < len(statuses) {
			status = statuses[i]
		}
		cells = append(cells, targetCell(&specs[i], &status))
	}
	if len(cells) > shown {
		return fmt.Sprintf("%s + %d more...", strings.Join(cells[:shown], ", "), len(cells)-shown)
	}
	return strings.Join(cells, ", ")
}

func targetCell(spec *autoscalingv2.MetricSpec, status *autoscalingv2.MetricStatus) string {
	var current *autoscalingv2.MetricValueStatus
	switch {
	case spec.Type == autoscalingv2.ExternalMetricSourceType && spec.External != nil:
		if status.External != nil {
			current = &status.External.Current
		}
		return valueCell(spec.External.Target, current)
	case spec.Type == autoscalingv2.ObjectMetricSourceType && spec.Object != nil:
		if status.Object != nil {
			current = &status.Object.Current
		}
		return valueCell(spec.Object.Target, current)
	case spec.Type == autoscalingv2.PodsMetricSourceType && spec.Pods != nil:
		if status.Pods != nil {
			current = &status.Pods.Current
		}
		return averageCell(spec.Pods.Target, current)
	case spec.Type == autoscalingv2.ResourceMetricSourceType && spec.Resource != nil:
		if status.Resource != nil {
			current = &status.Resource.Current
		}
		return fmt.Sprintf("%s: %s", spec.Resource.Name, usageCell(spec.Resource.Target, current))
	case spec.Type == autoscalingv2.ContainerResourceMetricSourceType && spec.ContainerResource != nil:
		if status.ContainerResource != nil {
			current = &status.ContainerResource.Current
		}
		return fmt.Sprintf("%s: %s", spec.ContainerResource.Name, usageCell(spec.ContainerResource.Target, current))
	}
	return "<unknown type>"
}

// valueCell is a metric in all, or by pod.
func valueCell(target autoscalingv2.MetricTarget, current *autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return averageCell(target, current) + " (avg)"
	}
	now := meta.Unknown
	if current != nil {
		now = current.Value.String()
	}
	return now + "/" + target.Value.String()
}

func averageCell(target autoscalingv2.MetricTarget, current *autoscalingv2.MetricValueStatus) string {
	now := meta.Unknown
	if current != nil && current.AverageValue != nil {
		now = current.AverageValue.String()
	}
	return now + "/" + target.AverageValue.String()
}

// usageCell is a resource by pod, or in percent of what was requested.
func usageCell(target autoscalingv2.MetricTarget, current *autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return averageCell(target, current)
	}
	now, want := meta.Unknown, "<auto>"
	if current != nil && current.AverageUtilization != nil {
		now = fmt.Sprintf("%d%%", *current.AverageUtilization)
	}
	if target.AverageUtilization != nil {
		want = fmt.Sprintf("%d%%", *target.AverageUtilization)
	}
	return now + "/" + want
}
