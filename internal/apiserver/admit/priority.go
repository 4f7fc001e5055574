package admit

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// PriorityClasses lists the classes that there are.
type PriorityClasses func(ctx context.Context) ([]*schedulingv1.PriorityClass, error)

// PodPriority turns a pod's priority class into its priority.
func PodPriority(get func(ctx context.Context, name string) (*schedulingv1.PriorityClass, error), list PriorityClasses) admission.Interface {
	return Plugin[*corev1.Pod]{Name: "Priority", Resource: pods, Operations: onWrite, Mutate: func(ctx context.Context, r Request[*corev1.Pod]) error {
		s := &r.Object.Spec
		if r.GetOperation() == admission.Update {
			if s.Priority == nil && r.Old != nil {
				s.Priority = r.Old.Spec.Priority
			}
			if s.PreemptionPolicy == nil && r.Old != nil {
				s.PreemptionPolicy = r.Old.Spec.PreemptionPolicy
			}
			return nil
		}
		class, err := priorityOf(ctx, r, get, list)
		if err != nil {
			return err
		}
		s.PriorityClassName = class.Name
		if s.Priority != nil && *s.Priority != class.Value {
			return admission.NewForbidden(r, fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *s.Priority, class.Value))
		}
		s.Priority = &class.Value
		if p := class.PreemptionPolicy; p != nil {
			if s.PreemptionPolicy != nil && *s.PreemptionPolicy != *p {
				return admission.NewForbidden(r, fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *s.PreemptionPolicy, *p))
			}
			s.PreemptionPolicy = p
		}
		return nil
	}}
}

// priorityOf is a copy of the class that the pod names, or of the default one.
func priorityOf(ctx context.Context, r Request[*corev1.Pod], get func(context.Context, string) (*schedulingv1.PriorityClass, error), list PriorityClasses) (schedulingv1.PriorityClass, error) {
	lower := corev1.PreemptLowerPriority
	name := r.Object.Spec.PriorityClassName
	if name == "" {
		classes, err := list(ctx)
		if err != nil {
			return schedulingv1.PriorityClass{}, apierrors.NewInternalError(err)
		}
		if d := defaultClass(classes); d != nil {
			return *d, nil
		}
		return schedulingv1.PriorityClass{PreemptionPolicy: &lower}, nil
	}
	class, err := get(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return schedulingv1.PriorityClass{}, admission.NewForbidden(r, fmt.Errorf("no PriorityClass with name %v was found", name))
	case err != nil:
		return schedulingv1.PriorityClass{}, apierrors.NewInternalError(err)
	}
	return *class, nil
}

// defaultClass is, of several that say so by mistake, the one with the lowest value.
func defaultClass(classes []*schedulingv1.PriorityClass) (d *schedulingv1.PriorityClass) {
	for _, c := range classes {
		if c.GlobalDefault && (d == nil || c.Value < d.Value) {
			d = c
		}
	}
	return d
}

// OneDefaultPriority refuses a second default class.
func OneDefaultPriority(list PriorityClasses) admission.Interface {
	return Plugin[*schedulingv1.PriorityClass]{
		Name: "Priority", Resource: schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}, Operations: onWrite,
		Check: func(ctx context.Context, r Request[*schedulingv1.PriorityClass]) error {
			if !r.Object.GlobalDefault {
				return nil
			}
			classes, err := list(ctx)
			if err != nil {
				return apierrors.NewInternalError(err)
			}
			if d := defaultClass(classes); d != nil && (r.GetOperation() == admission.Create || d.Name != r.Object.Name) {
				return admission.NewForbidden(r, fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", d.Name))
			}
			return nil
		},
	}
}
