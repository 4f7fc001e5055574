package admit

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

// A pod stays this long on a node that is not ready or can't be reached.
const tolerationSeconds = 300

// DefaultTolerations lets pods stay for a while on a node that went away.
func DefaultTolerations() admission.Interface {
	return Plugin[*corev1.Pod]{Name: "DefaultTolerationSeconds", Resource: pods, Operations: onWrite,
		Mutate: func(_ context.Context, r Request[*corev1.Pod]) error {
			for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
				if !tolerates(r.Object.Spec.Tolerations, key) {
					seconds := int64(tolerationSeconds)
					r.Object.Spec.Tolerations = append(r.Object.Spec.Tolerations, corev1.Toleration{
						Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds})
				}
			}
			return nil
		}}
}

func tolerates(list []corev1.Toleration, key string) bool {
	for _, t := range list {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}

// TaintNewNodes keeps pods from a node until it says that it is ready.
func TaintNewNodes() admission.Interface {
	return Plugin[*corev1.Node]{Name: "TaintNodesByCondition", Resource: nodes, Operations: onCreate,
		Mutate: func(_ context.Context, r Request[*corev1.Node]) error {
			for _, t := range r.Object.Spec.Taints {
				if t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule {
					return nil
				}
			}
			r.Object.Spec.Taints = append(r.Object.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
			return nil
		}}
}
