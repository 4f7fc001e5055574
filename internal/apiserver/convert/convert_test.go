package convert

import (
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// An autoscaler read and written back through v1 is the one that was stored.
func TestAutoscalerSurvivesV1(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Name: "h"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d"},
				MaxReplicas:    rapid.Int32Range(1, 9).Draw(t, "max"),
			},
		}
		if rapid.Bool().Draw(t, "annotated") {
			in.Annotations = map[string]string{"mine": "yes"}
		}
		if rapid.Bool().Draw(t, "cpu") {
			n := rapid.Int32Range(1, 100).Draw(t, "percent")
			in.Spec.Metrics = append(in.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &n}}})
		}
		if rapid.Bool().Draw(t, "memory") {
			q := resource.MustParse("64Mi")
			in.Spec.Metrics = append(in.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &q}}})
		}
		if rapid.Bool().Draw(t, "behavior") {
			n := int32(30)
			in.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &n}}
		}
		want := in.DeepCopy()
		var v1 autoscalingv1.HorizontalPodAutoscaler
		var out autoscalingv2.HorizontalPodAutoscaler
		if err := hpaFromHub(&in, &v1); err != nil {
			t.Fatal(err)
		}
		if err := hpaToHub(&v1, &out); err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(want, &out) {
			t.Fatalf("got  %+v\nwant %+v", out, want)
		}
		if !equality.Semantic.DeepEqual(want, &in) {
			t.Fatal("the conversion changed what it was given, which others read")
		}
	})
}

func TestEventIsTheSameInBothGroups(t *testing.T) {
	in := corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p"},
		Reason: "Why", Message: "what", Type: "Normal", Count: 3, ReportingController: "c", ReportingInstance: "i", Action: "a",
		Source: corev1.EventSource{Component: "s"}, Series: &corev1.EventSeries{Count: 2},
	}
	var other eventsv1.Event
	var out corev1.Event
	if err := eventFromHub(&in, &other); err != nil {
		t.Fatal(err)
	}
	if other.Note != "what" || other.Regarding.Name != "p" || other.DeprecatedCount != 3 {
		t.Errorf("events.k8s.io: %+v", other)
	}
	if err := eventToHub(&other, &out); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(in, out) {
		t.Errorf("got  %+v\nwant %+v", out, in)
	}
}
