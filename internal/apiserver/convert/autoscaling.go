package convert

import (
	"encoding/json"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Where autoscaling/v1 keeps what it has no fields for; upstream's names.
const (
	metricsAnnotation    = "autoscaling.alpha.kubernetes.io/metrics"
	currentAnnotation    = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation   = "autoscaling.alpha.kubernetes.io/behavior"
)

// Autoscaling makes autoscaling/v2 the hub of HorizontalPodAutoscaler. In v1
// the CPU target is a field, everything newer travels in annotations.
func Autoscaling(s *runtime.Scheme) error {
	return addAll(s,
		pair[autoscalingv1.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscaler](hpaToHub),
		pair[autoscalingv2.HorizontalPodAutoscaler, autoscalingv1.HorizontalPodAutoscaler](hpaFromHub),
		pair[autoscalingv1.HorizontalPodAutoscalerList, autoscalingv2.HorizontalPodAutoscalerList](
			func(in *autoscalingv1.HorizontalPodAutoscalerList, out *autoscalingv2.HorizontalPodAutoscalerList) error {
				out.ListMeta = in.ListMeta
				return each(in.Items, &out.Items, hpaToHub)
			}),
		pair[autoscalingv2.HorizontalPodAutoscalerList, autoscalingv1.HorizontalPodAutoscalerList](
			func(in *autoscalingv2.HorizontalPodAutoscalerList, out *autoscalingv1.HorizontalPodAutoscalerList) error {
				out.ListMeta = in.ListMeta
				return each(in.Items, &out.Items, hpaFromHub)
			}))
}

func hpaToHub(in *autoscalingv1.HorizontalPodAutoscaler, out *autoscalingv2.HorizontalPodAutoscaler) error {
	*out = autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: in.ObjectMeta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
			MinReplicas:    in.Spec.MinReplicas,
			MaxReplicas:    in.Spec.MaxReplicas,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			ObservedGeneration: in.Status.ObservedGeneration,
			LastScaleTime:      in.Status.LastScaleTime,
			CurrentReplicas:    in.Status.CurrentReplicas,
			DesiredReplicas:    in.Status.DesiredReplicas,
		},
	}
	out.Annotations = maps.Clone(in.Annotations)
	take(out.Annotations, metricsAnnotation, &out.Spec.Metrics)
	take(out.Annotations, behaviorAnnotation, &out.Spec.Behavior)
	take(out.Annotations, currentAnnotation, &out.Status.CurrentMetrics)
	take(out.Annotations, conditionsAnnotation, &out.Status.Conditions)
	if target := in.Spec.TargetCPUUtilizationPercentage; target != nil {
		cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: target},
		}}
		out.Spec.Metrics = append([]autoscalingv2.MetricSpec{cpu}, out.Spec.Metrics...)
	}
	if now := in.Status.CurrentCPUUtilizationPercentage; now != nil {
		cpu := autoscalingv2.MetricStatus{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricStatus{
			Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: now},
		}}
		out.Status.CurrentMetrics = append([]autoscalingv2.MetricStatus{cpu}, out.Status.CurrentMetrics...)
	}
	return nil
}

func hpaFromHub(in *autoscalingv2.HorizontalPodAutoscaler, out *autoscalingv1.HorizontalPodAutoscaler) error {
	*out = autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: in.ObjectMeta,
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
			MinReplicas:    in.Spec.MinReplicas,
			MaxReplicas:    in.Spec.MaxReplicas,
		},
		Status: autoscalingv1.HorizontalPodAutoscalerStatus{
			ObservedGeneration: in.Status.ObservedGeneration,
			LastScaleTime:      in.Status.LastScaleTime,
			CurrentReplicas:    in.Status.CurrentReplicas,
			DesiredReplicas:    in.Status.DesiredReplicas,
		},
	}
	annotations := maps.Clone(in.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	for _, key := range []string{metricsAnnotation, behaviorAnnotation, currentAnnotation, conditionsAnnotation} {
		delete(annotations, key)
	}
	var metrics []autoscalingv2.MetricSpec
	for _, m := range in.Spec.Metrics {
		if r := m.Resource; r != nil && r.Name == corev1.ResourceCPU && r.Target.AverageUtilization != nil && out.Spec.TargetCPUUtilizationPercentage == nil {
			out.Spec.TargetCPUUtilizationPercentage = r.Target.AverageUtilization
			continue
		}
		metrics = append(metrics, m)
	}
	var current []autoscalingv2.MetricStatus
	for _, m := range in.Status.CurrentMetrics {
		if r := m.Resource; r != nil && r.Name == corev1.ResourceCPU && r.Current.AverageUtilization != nil && out.Status.CurrentCPUUtilizationPercentage == nil {
			out.Status.CurrentCPUUtilizationPercentage = r.Current.AverageUtilization
			continue
		}
		current = append(current, m)
	}
	put(annotations, metricsAnnotation, metrics, len(metrics) > 0)
	put(annotations, currentAnnotation, current, len(current) > 0)
	put(annotations, behaviorAnnotation, in.Spec.Behavior, in.Spec.Behavior != nil)
	put(annotations, conditionsAnnotation, in.Status.Conditions, len(in.Status.Conditions) > 0)
	if len(annotations) > 0 {
		out.Annotations = annotations
	} else {
		out.Annotations = nil
	}
	return nil
}

// take moves an annotation into a field. One that does not parse is dropped,
// as upstream does: it was written by hand.
func take(annotations map[string]string, key string, into any) {
	if v, ok := annotations[key]; ok {
		_ = json.Unmarshal([]byte(v), into)
		delete(annotations, key)
	}
}

func put(annotations map[string]string, key string, v any, present bool) {
	if !present {
		return
	}
	if b, err := json.Marshal(v); err == nil {
		annotations[key] = string(b)
	}
}
