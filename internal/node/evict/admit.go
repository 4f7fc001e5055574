package evict

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"github.com/proa-project/proa/internal/node/podlife"
)

// Reason of evicted and refused pods.
const Reason = "Evicted"

// Refuse says why a node under pressure doesn't take a pod, or nothing. While only
// memory is short, it takes those that say what they need, and those that know.
func Refuse(pressure map[v1.NodeConditionType]bool, pod *v1.Pod) string {
	var conditions []v1.NodeConditionType
	for c, on := range pressure {
		if on {
			conditions = append(conditions, c)
		}
	}
	if len(conditions) == 0 || critical(pod) {
		return ""
	}
	slices.Sort(conditions)
	if slices.Equal(conditions, []v1.NodeConditionType{v1.NodeMemoryPressure}) {
		taint := v1.Taint{Key: v1.TaintNodeMemoryPressure, Effect: v1.TaintEffectNoSchedule}
		if podlife.QoS(pod) != v1.PodQOSBestEffort || schedulinghelper.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, &taint, false) {
			return ""
		}
	}
	return fmt.Sprintf("The node had condition: %v. ", conditions)
}
