package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A ReplicaSet keeps a number of pods of one template running.
func replicaSets() resource.Resource {
	spec, status := appsv1.ReplicaSetSpec{}.SwaggerDoc(), appsv1.ReplicaSetStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "replicasets",
		Singular:     "replicaset",
		Kind:         "ReplicaSet",
		ShortNames:   []string{"rs"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.ReplicaSet{} },
		NewList:      func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Generation:   true,
		Default:      meta.Default(defaultReplicaSet),
		Prepare:      meta.Prepare(func(r *appsv1.ReplicaSet) { podspec.DropUnservedInTemplate(&r.Spec.Template) }),
		Check:        meta.Check(func(r *appsv1.ReplicaSet) field.ErrorList { return checkReplicaSet(r, nil) }),
		Warn: meta.Warn(func(r *appsv1.ReplicaSet) []string {
			return append(workload.WarnName(r.Name), workload.WarnPods(&r.Spec.Template)...)
		}),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(r, _ *appsv1.ReplicaSet) { podspec.DropUnservedInTemplate(&r.Spec.Template) }),
			CheckUpdate:   meta.CheckUpdate(checkReplicaSetUpdate),
			WarnUpdate:    meta.WarnUpdate(func(r, old *appsv1.ReplicaSet) []string { return workload.WarnChangedPods(r, old, &r.Spec.Template) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkReplicaSetStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(r *appsv1.ReplicaSet) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(r.Status.Replicas))}
		}),
		Columns: meta.Table(
			meta.Name(),
			meta.Integer("Desired", spec["replicas"]),
			meta.Integer("Current", status["replicas"]),
			meta.Integer("Ready", status["readyReplicas"]),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
			meta.Wide(meta.String("Selector", spec["selector"])),
		),
		Row: meta.Row(replicaSetRow),
	}
}

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	meta.SetDefault(&r.Spec.Replicas, 1)
	podspec.DefaultTemplate(&r.Spec.Template)
}

func checkReplicaSet(r, old *appsv1.ReplicaSet) field.ErrorList {
	path := field.NewPath("spec")
	var stored *corev1.PodTemplateSpec
	if old != nil {
		stored = &old.Spec.Template
	}
	// "deployment" is what the API has always said here.
	selector, wrong := workload.CheckSelector(path.Child("selector"), r.Spec.Selector, nil, "deployment")
	return meta.Join(
		meta.NonNegative(path.Child("replicas"), meta.Deref(r.Spec.Replicas, 0)),
		meta.NonNegative(path.Child("minReadySeconds"), r.Spec.MinReadySeconds),
		wrong,
		workload.CheckRunning(path.Child("template"), &r.Spec.Template, stored, selector, "ReplicaSet"),
	)
}

func checkReplicaSetUpdate(r, old *appsv1.ReplicaSet) field.ErrorList {
	return append(checkReplicaSet(r, old), meta.Unchanged(field.NewPath("spec", "selector"), r.Spec.Selector, old.Spec.Selector)...)
}

func checkReplicaSetStatus(r, _ *appsv1.ReplicaSet) field.ErrorList {
	path, s := field.NewPath("status"), r.Status
	return meta.Join(
		meta.NonNegative(path.Child("replicas"), s.Replicas),
		meta.NonNegative(path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas),
		meta.NonNegative(path.Child("readyReplicas"), s.ReadyReplicas),
		meta.NonNegative(path.Child("availableReplicas"), s.AvailableReplicas),
		meta.NonNegative(path.Child("observedGeneration"), s.ObservedGeneration),
		meta.NonNegative(path.Child("terminatingReplicas"), meta.Deref(s.TerminatingReplicas, 0)),
		workload.NoMore(path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("readyReplicas"), s.ReadyReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas"),
	)
}

func replicaSetRow(r *appsv1.ReplicaSet, now metav1.Time) []any {
	names, images := meta.ContainerCells(r.Spec.Template.Spec.Containers)
	return []any{
		r.Name, int64(meta.Deref(r.Spec.Replicas, 0)), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas),
		meta.Age(r.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(r.Spec.Selector),
	}
}
