// Package workload is what the kinds with a pod template have in common:
// ReplicationController, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob.
package workload

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

// CheckTemplate checks a template alone; old is the stored one, nil at creation.
func CheckTemplate(path *field.Path, template, old *corev1.PodTemplateSpec) field.ErrorList {
	return podspec.ValidateTemplate(template, path, podspec.ToleratingTemplate(old))
}

// CheckRunning checks a template whose pods are replaced when they end, against
// the selector by which its controller finds them. owner names the kind in messages.
func CheckRunning(path *field.Path, template, old *corev1.PodTemplateSpec, selector labels.Selector, owner string) field.ErrorList {
	var errs field.ErrorList
	if !selector.Empty() && !selector.Matches(labels.Set(template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), template.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, CheckTemplate(path, template, old)...)
	if template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), template.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), fmt.Sprintf("activeDeadlineSeconds in %s is not Supported", owner)))
	}
	return errs
}

// CheckSelector checks the selector of pods, and hands it back ready to match;
// one that selects everything would take over every pod of the namespace.
func CheckSelector(path *field.Path, selector, old *metav1.LabelSelector, kind string) (labels.Selector, field.ErrorList) {
	if selector == nil {
		return labels.Nothing(), field.ErrorList{field.Required(path, "")}
	}
	errs := meta.SelectorUpdate(path, selector, old) // strict where old is nil
	if meta.SelectorEmpty(selector) {
		errs = append(errs, field.Invalid(path, selector, fmt.Sprintf("empty selector is invalid for %s", kind)))
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Everything(), append(errs, field.Invalid(path, selector, "invalid label selector"))
	}
	return parsed, errs
}

// CopyLabels gives an object its template's labels where it has none of its own.
func CopyLabels(object *metav1.ObjectMeta, template *corev1.PodTemplateSpec) {
	if template != nil && len(object.Labels) == 0 {
		object.Labels = maps.Clone(template.Labels)
	}
}

// WarnName tells of names that do not fit into the names and hostnames of pods.
func WarnName(name string) []string {
	if messages := validation.IsDNS1123Label(name); len(messages) > 0 {
		return []string{fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages)}
	}
	return nil
}

// WarnPods tells of what is odd in a template of pods, at creation.
func WarnPods(template *corev1.PodTemplateSpec) []string {
	return podspec.WarningsForTemplate(template, field.NewPath("spec", "template"))
}

// WarnChangedPods is WarnPods for updates: whoever changes only metadata is not
// told again.
func WarnChangedPods(object, old metav1.Object, template *corev1.PodTemplateSpec) []string {
	if object.GetGeneration() == old.GetGeneration() {
		return nil
	}
	return WarnPods(template)
}

// CheckCollisions refuses a count of name collisions that goes back: names would be used twice.
func CheckCollisions(path *field.Path, count, old *int32) field.ErrorList {
	var errs field.ErrorList
	if count != nil {
		errs = meta.NonNegative(path, *count)
	}
	if old != nil && meta.Deref(count, 0) < *old {
		errs = append(errs, field.Invalid(path, meta.Deref(count, 0), "cannot be decremented"))
	}
	return errs
}

// NoMore refuses a count above another one.
func NoMore(path *field.Path, count, limit int32, message string) field.ErrorList {
	if count <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(path, count, message)}
}
