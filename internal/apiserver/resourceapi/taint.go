package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

var taintEffects = []resourcev1.DeviceTaintEffect{
	resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone,
}

// date says since when a taint is there, where its author did not.
func date(taint *resourcev1.DeviceTaint, now metav1.Time) {
	if taint.TimeAdded == nil {
		taint.TimeAdded = &now
	}
}

// checkTaint checks a taint; an effect that was stored is let pass.
func checkTaint(path *field.Path, taint resourcev1.DeviceTaint, stored *resourcev1.DeviceTaint) field.ErrorList {
	errs := metavalidation.ValidateLabelName(taint.Key, path.Child("key"))
	errs = append(errs, checkLabelValue(path.Child("value"), taint.Value)...)
	if stored == nil || stored.Effect != taint.Effect {
		errs = append(errs, meta.OneOf(path.Child("effect"), taint.Effect, taintEffects...)...)
	}
	return errs
}

func defaultTolerations(tolerations []resourcev1.DeviceToleration) {
	for i := range tolerations {
		if tolerations[i].Operator == "" {
			tolerations[i].Operator = resourcev1.DeviceTolerationOpEqual
		}
	}
}

func checkToleration(path *field.Path, toleration resourcev1.DeviceToleration) field.ErrorList {
	var errs field.ErrorList
	if toleration.Key != "" {
		errs = append(errs, metavalidation.ValidateLabelName(toleration.Key, path.Child("key"))...)
	}
	switch toleration.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if toleration.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), toleration.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		errs = append(errs, checkLabelValue(path.Child("value"), toleration.Value)...)
	default:
		errs = append(errs, meta.OneOf(path.Child("operator"), toleration.Operator, resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists)...)
	}
	if toleration.Effect != "" {
		errs = append(errs, meta.OneOf(path.Child("effect"), toleration.Effect, taintEffects...)...)
	}
	return errs
}

func checkLabelValue(path *field.Path, value string) field.ErrorList {
	return meta.Invalid(path, value, validation.IsValidLabelValue(value))
}
