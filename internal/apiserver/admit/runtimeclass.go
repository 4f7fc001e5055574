package admit

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
)

// RuntimeClasses sets the overhead and the placement that a pod's runtime asks for.
func RuntimeClasses(get func(ctx context.Context, name string) (*nodev1.RuntimeClass, error)) admission.Interface {
	class := func(ctx context.Context, r Request[*corev1.Pod]) (*nodev1.RuntimeClass, error) {
		name := r.Object.Spec.RuntimeClassName
		if name == nil {
			return nil, nil
		}
		c, err := get(ctx, *name)
		if apierrors.IsNotFound(err) {
			return nil, admission.NewForbidden(r, fmt.Errorf("pod rejected: RuntimeClass %q not found", *name))
		}
		return c, err
	}
	return Plugin[*corev1.Pod]{Name: "RuntimeClass", Resource: pods, Operations: onCreate,
		Mutate: func(ctx context.Context, r Request[*corev1.Pod]) error {
			c, err := class(ctx, r)
			if err != nil || c == nil {
				return err
			}
			return forbid(r, applyRuntimeClass(r.Object, c))
		},
		Check: func(ctx context.Context, r Request[*corev1.Pod]) error {
			c, err := class(ctx, r)
			if err != nil {
				return err
			}
			switch has := c != nil && c.Overhead != nil; {
			case has && !equality.Semantic.DeepEqual(c.Overhead.PodFixed, r.Object.Spec.Overhead):
				return forbid(r, errOverhead)
			case !has && r.Object.Spec.Overhead != nil:
				return forbid(r, errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
			}
			return nil
		}}
}

var errOverhead = errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

func applyRuntimeClass(pod *corev1.Pod, c *nodev1.RuntimeClass) error {
	if c.Overhead != nil {
		if len(pod.Spec.Overhead) > 0 && !equality.Semantic.DeepEqual(c.Overhead.PodFixed, pod.Spec.Overhead) {
			return errOverhead
		}
		pod.Spec.Overhead = c.Overhead.PodFixed.DeepCopy()
	}
	if c.Scheduling == nil {
		return nil
	}
	for key, value := range c.Scheduling.NodeSelector {
		if have, ok := pod.Spec.NodeSelector[key]; ok && have != value {
			return fmt.Errorf("conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, have)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
	for _, t := range c.Scheduling.Tolerations {
		if !containsToleration(pod.Spec.Tolerations, t) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, t)
		}
	}
	return nil
}

func containsToleration(list []corev1.Toleration, t corev1.Toleration) bool {
	for _, have := range list {
		if equality.Semantic.DeepEqual(have, t) {
			return true
		}
	}
	return false
}
