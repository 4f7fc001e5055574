package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A DaemonSet runs one pod on each node.
func daemonSets() resource.Resource {
	status := appsv1.DaemonSetStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "daemonsets",
		Singular:     "daemonset",
		Kind:         "DaemonSet",
		ShortNames:   []string{"ds"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.DaemonSet{} },
		NewList:      func() runtime.Object { return &appsv1.DaemonSetList{} },
		Generation:   true,
		SpecOf:       meta.Spec(func(d *appsv1.DaemonSet) any { return d.Spec }),
		Default:      meta.Default(defaultDaemonSet),
		Prepare:      meta.Prepare(prepareDaemonSet),
		Check:        meta.Check(func(d *appsv1.DaemonSet) field.ErrorList { return checkDaemonSet(d, nil) }),
		Warn:         meta.Warn(func(d *appsv1.DaemonSet) []string { return workload.WarnPods(&d.Spec.Template) }),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(prepareDaemonSetUpdate),
			CheckUpdate:   meta.CheckUpdate(checkDaemonSetUpdate),
			WarnUpdate:    meta.WarnUpdate(func(d, old *appsv1.DaemonSet) []string { return workload.WarnChangedPods(d, old, &d.Spec.Template) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkDaemonSetStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.Integer("Desired", status["desiredNumberScheduled"]),
			meta.Integer("Current", status["currentNumberScheduled"]),
			meta.Integer("Ready", status["numberReady"]),
			meta.Integer("Up-to-date", status["updatedNumberScheduled"]),
			meta.Integer("Available", status["numberAvailable"]),
			meta.String("Node Selector", corev1.PodSpec{}.SwaggerDoc()["nodeSelector"]),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
			meta.Wide(meta.String("Selector", appsv1.DaemonSetSpec{}.SwaggerDoc()["selector"])),
		),
		Row: meta.Row(daemonSetRow),
	}
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	meta.SetDefault(&d.Spec.RevisionHistoryLimit, 10)
	strategy := &d.Spec.UpdateStrategy
	if strategy.Type == "" {
		strategy.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if strategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		meta.SetDefault(&strategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		meta.SetDefault(&strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		meta.SetDefault(&strategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	podspec.DefaultTemplate(&d.Spec.Template)
}

// The generation of the template was once a field; apps/v1 keeps it in an
// annotation, and clients of before still look at it.

func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	annotations := map[string]string{appsv1.DeprecatedTemplateGeneration: strconv.FormatInt(n, 10)}
	for key, value := range d.Annotations {
		if key != appsv1.DeprecatedTemplateGeneration {
			annotations[key] = value
		}
	}
	d.Annotations = annotations
}

func prepareDaemonSet(d *appsv1.DaemonSet) {
	setTemplateGeneration(d, max(templateGeneration(d), 1))
	podspec.DropUnservedInTemplate(&d.Spec.Template)
}

func prepareDaemonSetUpdate(d, old *appsv1.DaemonSet) {
	podspec.DropUnservedInTemplate(&d.Spec.Template)
	n := templateGeneration(old)
	if !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
		n++
	}
	setTemplateGeneration(d, n)
}

func checkDaemonSet(d, old *appsv1.DaemonSet) field.ErrorList {
	path, spec := field.NewPath("spec"), &d.Spec
	var storedTemplate *corev1.PodTemplateSpec
	var storedSelector *metav1.LabelSelector
	if old != nil {
		storedTemplate, storedSelector = &old.Spec.Template, old.Spec.Selector
	}
	selector, wrong := workload.CheckSelector(path.Child("selector"), spec.Selector, storedSelector, "daemonset")
	if spec.Selector == nil {
		wrong = nil // the template's labels not matching it says as much
	}
	return meta.Join(
		wrong,
		workload.CheckRunning(path.Child("template"), &spec.Template, storedTemplate, selector, "DaemonSet"),
		meta.NonNegative(path.Child("minReadySeconds"), spec.MinReadySeconds),
		checkDaemonSetStrategy(path.Child("updateStrategy"), &spec.UpdateStrategy),
		meta.NonNegative(path.Child("revisionHistoryLimit"), meta.Deref(spec.RevisionHistoryLimit, 0)),
	)
}

func checkDaemonSetStrategy(path *field.Path, strategy *appsv1.DaemonSetUpdateStrategy) field.ErrorList {
	switch strategy.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
		if strategy.RollingUpdate == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "")}
		}
		return checkDaemonRollout(path.Child("rollingUpdate"), strategy.RollingUpdate)
	}
	return notSupported(path, strategy, string(appsv1.RollingUpdateDaemonSetStrategyType), string(appsv1.OnDeleteDaemonSetStrategyType))
}

// checkDaemonRollout: a node either loses its pod first or gets a second one first.
func checkDaemonRollout(path *field.Path, rolling *appsv1.RollingUpdateDaemonSet) field.ErrorList {
	unavailable, surge := meta.Deref(rolling.MaxUnavailable, intstr.IntOrString{}), meta.Deref(rolling.MaxSurge, intstr.IntOrString{})
	errs := meta.Join(
		meta.CountOrPercent(path.Child("maxUnavailable"), unavailable),
		meta.CountOrPercent(path.Child("maxSurge"), surge),
		meta.AtMostAll(path.Child("maxUnavailable"), unavailable),
		meta.AtMostAll(path.Child("maxSurge"), surge),
	)
	switch {
	case !meta.IsZero(unavailable) && !meta.IsZero(surge):
		errs = append(errs, field.Invalid(path.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
	case meta.IsZero(unavailable) && meta.IsZero(surge):
		errs = append(errs, field.Required(path.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func checkDaemonSetUpdate(d, old *appsv1.DaemonSet) field.ErrorList {
	return append(meta.Unchanged(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector), checkDaemonSet(d, old)...)
}

func checkDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	path, s := field.NewPath("status"), d.Status
	return meta.Join(
		meta.NonNegative(path.Child("currentNumberScheduled"), s.CurrentNumberScheduled),
		meta.NonNegative(path.Child("numberMisscheduled"), s.NumberMisscheduled),
		meta.NonNegative(path.Child("desiredNumberScheduled"), s.DesiredNumberScheduled),
		meta.NonNegative(path.Child("numberReady"), s.NumberReady),
		meta.NonNegative(path.Child("observedGeneration"), s.ObservedGeneration),
		meta.NonNegative(path.Child("updatedNumberScheduled"), s.UpdatedNumberScheduled),
		meta.NonNegative(path.Child("numberAvailable"), s.NumberAvailable),
		meta.NonNegative(path.Child("numberUnavailable"), s.NumberUnavailable),
		workload.CheckCollisions(path.Child("collisionCount"), s.CollisionCount, old.Status.CollisionCount),
	)
}

func daemonSetRow(d *appsv1.DaemonSet, now metav1.Time) []any {
	names, images := meta.ContainerCells(d.Spec.Template.Spec.Containers)
	s := d.Status
	return []any{
		d.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady), int64(s.UpdatedNumberScheduled),
		int64(s.NumberAvailable), labels.FormatLabels(d.Spec.Template.Spec.NodeSelector), meta.Age(d.CreationTimestamp, now),
		names, images, metav1.FormatLabelSelector(d.Spec.Selector),
	}
}
