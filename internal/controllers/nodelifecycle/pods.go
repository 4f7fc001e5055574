package nodelifecycle

import (
	"context"
	"encoding/json"
	"errors"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// unready takes the pods of a silent node out of their services: whether they
// still serve, nobody knows. The node says so again when it is back.
func (c *controller) unready(ctx context.Context, node string) error {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	var failed []error
	for _, p := range serving(pods, node) {
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": p.UID},
			"status": map[string]any{"conditions": []v1.PodCondition{{
				Type: v1.PodReady, Status: v1.ConditionFalse, LastTransitionTime: metav1.NewTime(c.clock.Now()), ObservedGeneration: p.Generation,
			}}},
		})
		if err == nil {
			_, err = c.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// serving are the pods of a node that say they are ready.
func serving(pods []*v1.Pod, node string) (ready []*v1.Pod) {
	for _, p := range pods {
		if p.Spec.NodeName != node {
			continue
		}
		for _, condition := range p.Status.Conditions {
			if condition.Type == v1.PodReady && condition.Status == v1.ConditionTrue {
				ready = append(ready, p)
			}
		}
	}
	return ready
}
