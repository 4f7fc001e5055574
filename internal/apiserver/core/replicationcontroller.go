package core

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A ReplicationController keeps a number of pods running; ReplicaSets replace it.
func replicationControllers() resource.Resource {
	spec, status := corev1.ReplicationControllerSpec{}.SwaggerDoc(), corev1.ReplicationControllerStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "replicationcontrollers",
		Singular:     "replicationcontroller",
		Kind:         "ReplicationController",
		ShortNames:   []string{"rc"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.ReplicationController{} },
		NewList:      func() runtime.Object { return &corev1.ReplicationControllerList{} },
		Generation:   true,
		Default:      meta.Default(defaultReplicationController),
		Check:        meta.Check(func(c *corev1.ReplicationController) field.ErrorList { return checkReplicationController(c, nil) }),
		Prepare:      meta.Prepare(prepareReplicationController),
		Warn:         meta.Warn(warnReplicationController),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(c, _ *corev1.ReplicationController) { prepareReplicationController(c) }),
			CheckUpdate:   meta.CheckUpdate(checkReplicationController),
			WarnUpdate:    meta.WarnUpdate(warnReplicationControllerUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkReplicationControllerStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(c *corev1.ReplicationController) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(c.Status.Replicas))}
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
		Row: meta.Row(replicationControllerRow),
	}
}

// defaultReplicationController takes selector and labels from the template's labels.
func defaultReplicationController(c *corev1.ReplicationController) {
	meta.SetDefault(&c.Spec.Replicas, 1)
	if c.Spec.Template == nil {
		return
	}
	if len(c.Spec.Selector) == 0 && c.Spec.Template.Labels != nil {
		c.Spec.Selector = maps.Clone(c.Spec.Template.Labels)
	}
	workload.CopyLabels(&c.ObjectMeta, c.Spec.Template)
	podspec.DefaultTemplate(c.Spec.Template)
}

func prepareReplicationController(c *corev1.ReplicationController) {
	if c.Spec.Template != nil {
		podspec.DropUnservedInTemplate(c.Spec.Template)
	}
}

func warnReplicationController(c *corev1.ReplicationController) []string {
	warnings := workload.WarnName(c.Name)
	if c.Spec.Template != nil {
		warnings = append(warnings, workload.WarnPods(c.Spec.Template)...)
	}
	return warnings
}

func warnReplicationControllerUpdate(c, old *corev1.ReplicationController) []string {
	if c.Spec.Template == nil {
		return nil
	}
	return workload.WarnChangedPods(c, old, c.Spec.Template)
}

func checkReplicationController(c, old *corev1.ReplicationController) field.ErrorList {
	path := field.NewPath("spec")
	errs := meta.NonNegative(path.Child("minReadySeconds"), c.Spec.MinReadySeconds)
	selector := labels.SelectorFromSet(c.Spec.Selector)
	if selector.Empty() {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	if c.Spec.Replicas == nil {
		errs = append(errs, field.Required(path.Child("replicas"), ""))
	} else {
		errs = append(errs, meta.NonNegative(path.Child("replicas"), *c.Spec.Replicas)...)
	}
	if c.Spec.Template == nil {
		return append(errs, field.Required(path.Child("template"), ""))
	}
	var stored *corev1.PodTemplateSpec
	if old != nil {
		stored = old.Spec.Template
	}
	return append(errs, workload.CheckRunning(path.Child("template"), c.Spec.Template, stored, selector, "ReplicationController")...)
}

func checkReplicationControllerStatus(c, _ *corev1.ReplicationController) field.ErrorList {
	path, s := field.NewPath("status"), c.Status
	const tooMany = "cannot be greater than status.replicas"
	return meta.Join(
		meta.NonNegative(path.Child("replicas"), s.Replicas),
		meta.NonNegative(path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas),
		meta.NonNegative(path.Child("readyReplicas"), s.ReadyReplicas),
		meta.NonNegative(path.Child("availableReplicas"), s.AvailableReplicas),
		meta.NonNegative(path.Child("observedGeneration"), s.ObservedGeneration),
		workload.NoMore(path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas, s.Replicas, tooMany),
		workload.NoMore(path.Child("readyReplicas"), s.ReadyReplicas, s.Replicas, tooMany),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.Replicas, tooMany),
		workload.NoMore(path.Child("availableReplicas"), s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas"),
	)
}

func replicationControllerRow(c *corev1.ReplicationController, now metav1.Time) []any {
	var containers []corev1.Container
	if c.Spec.Template != nil {
		containers = c.Spec.Template.Spec.Containers
	}
	names, images := meta.ContainerCells(containers)
	return []any{
		c.Name, int64(meta.Deref(c.Spec.Replicas, 0)), int64(c.Status.Replicas), int64(c.Status.ReadyReplicas),
		meta.Age(c.CreationTimestamp, now), names, images, labels.FormatLabels(c.Spec.Selector),
	}
}
