package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A Deployment keeps pods of one template running and rolls out changes of it.
func deployments() resource.Resource {
	spec, status := appsv1.DeploymentSpec{}.SwaggerDoc(), appsv1.DeploymentStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "deployments",
		Singular:     "deployment",
		Kind:         "Deployment",
		ShortNames:   []string{"deploy"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.Deployment{} },
		NewList:      func() runtime.Object { return &appsv1.DeploymentList{} },
		Generation:   true,
		SpecOf:       meta.Spec(deploymentIntent),
		Default:      meta.Default(defaultDeployment),
		Prepare:      meta.Prepare(func(d *appsv1.Deployment) { podspec.DropUnservedInTemplate(&d.Spec.Template) }),
		Check:        meta.Check(func(d *appsv1.Deployment) field.ErrorList { return checkDeployment(d, nil) }),
		Warn: meta.Warn(func(d *appsv1.Deployment) []string {
			return append(workload.WarnName(d.Name), workload.WarnPods(&d.Spec.Template)...)
		}),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(d, _ *appsv1.Deployment) { podspec.DropUnservedInTemplate(&d.Spec.Template) }),
			CheckUpdate:   meta.CheckUpdate(checkDeploymentUpdate),
			WarnUpdate:    meta.WarnUpdate(func(d, old *appsv1.Deployment) []string { return workload.WarnChangedPods(d, old, &d.Spec.Template) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			PrepareUpdate: meta.PrepareUpdate(func(d, old *appsv1.Deployment) { d.Labels = old.Labels }),
			CheckUpdate:   meta.CheckUpdate(checkDeploymentStatus),
			Reset:         [][]string{{"spec"}, {"metadata", "labels"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Ready", "Number of the pod with ready state"),
			meta.String("Up-to-date", status["updatedReplicas"]),
			meta.String("Available", status["availableReplicas"]),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
			meta.Wide(meta.String("Selector", spec["selector"])),
		),
		Row: meta.Row(deploymentRow),
	}
}

// deploymentIntent includes annotations, because they are copied to ReplicaSets.
func deploymentIntent(d *appsv1.Deployment) any {
	return struct {
		Spec        appsv1.DeploymentSpec
		Annotations map[string]string
	}{d.Spec, d.Annotations}
}

func defaultDeployment(d *appsv1.Deployment) {
	meta.SetDefault(&d.Spec.Replicas, 1)
	meta.SetDefault(&d.Spec.RevisionHistoryLimit, 10)
	meta.SetDefault(&d.Spec.ProgressDeadlineSeconds, 600)
	strategy := &d.Spec.Strategy
	if strategy.Type == "" {
		strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		meta.SetDefault(&strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		meta.SetDefault(&strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		meta.SetDefault(&strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	podspec.DefaultTemplate(&d.Spec.Template)
}

func checkDeployment(d, old *appsv1.Deployment) field.ErrorList {
	path, spec := field.NewPath("spec"), &d.Spec
	var stored *corev1.PodTemplateSpec
	if old != nil {
		stored = &old.Spec.Template
	}
	selector, wrong := workload.CheckSelector(path.Child("selector"), spec.Selector, nil, "deployment")
	errs := meta.Join(
		meta.NonNegative(path.Child("replicas"), meta.Deref(spec.Replicas, 0)),
		wrong,
		workload.CheckRunning(path.Child("template"), &spec.Template, stored, selector, "ReplicaSet"),
		checkDeploymentStrategy(path.Child("strategy"), &spec.Strategy),
		meta.NonNegative(path.Child("minReadySeconds"), spec.MinReadySeconds),
		meta.NonNegative(path.Child("revisionHistoryLimit"), meta.Deref(spec.RevisionHistoryLimit, 0)),
	)
	if deadline := spec.ProgressDeadlineSeconds; deadline != nil {
		errs = append(errs, meta.NonNegative(path.Child("progressDeadlineSeconds"), *deadline)...)
		if *deadline <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(path.Child("progressDeadlineSeconds"), *deadline, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func checkDeploymentStrategy(path *field.Path, strategy *appsv1.DeploymentStrategy) field.ErrorList {
	rolling := strategy.RollingUpdate
	switch strategy.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if rolling != nil {
			return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"), fmt.Sprintf("may not be specified when strategy `type` is '%s'", strategy.Type))}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if rolling == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return checkRollout(path.Child("rollingUpdate"), meta.Deref(rolling.MaxUnavailable, intstr.IntOrString{}), meta.Deref(rolling.MaxSurge, intstr.IntOrString{}))
	}
	return notSupported(path, strategy, string(appsv1.RecreateDeploymentStrategyType), string(appsv1.RollingUpdateDeploymentStrategyType))
}

func checkRollout(path *field.Path, unavailable, surge intstr.IntOrString) field.ErrorList {
	errs := append(meta.CountOrPercent(path.Child("maxUnavailable"), unavailable), meta.CountOrPercent(path.Child("maxSurge"), surge)...)
	if meta.IsZero(unavailable) && meta.IsZero(surge) {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
	}
	return append(errs, meta.AtMostAll(path.Child("maxUnavailable"), unavailable)...)
}

func checkDeploymentUpdate(d, old *appsv1.Deployment) field.ErrorList {
	return append(checkDeployment(d, old), meta.Unchanged(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func checkDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	path, s := field.NewPath("status"), d.Status
	return meta.Join(
		meta.NonNegative(path.Child("observedGeneration"), s.ObservedGeneration),
		meta.NonNegative(path.Child("replicas"), s.Replicas),
		meta.NonNegative(path.Child("updatedReplicas"), s.UpdatedReplicas),
		meta.NonNegative(path.Child("readyReplicas"), s.ReadyReplicas),
		meta.NonNegative(path.Child("availableReplicas"), s.AvailableReplicas),
		meta.NonNegative(path.Child("unavailableReplicas"), s.UnavailableReplicas),
		meta.NonNegative(path.Child("terminatingReplicas"), meta.Deref(s.TerminatingReplicas, 0)),
		workload.CheckCollisions(path.Child("collisionCount"), s.CollisionCount, old.Status.CollisionCount),
		workload.NoMore(path.Child("updatedReplicas"), s.UpdatedReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("readyReplicas"), s.ReadyReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas"),
	)
}

func deploymentRow(d *appsv1.Deployment, now metav1.Time) []any {
	selector := "<invalid>"
	if parsed, err := metav1.LabelSelectorAsSelector(d.Spec.Selector); err == nil {
		selector = parsed.String()
	}
	names, images := meta.ContainerCells(d.Spec.Template.Spec.Containers)
	return []any{
		d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, meta.Deref(d.Spec.Replicas, 0)), int64(d.Status.UpdatedReplicas),
		int64(d.Status.AvailableReplicas), meta.Age(d.CreationTimestamp, now), names, images, selector,
	}
}
