package resourceapi

import (
	"context"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A DeviceTaintRule keeps pods off some devices, in addition to what the driver
// says of them.
func deviceTaintRules() resource.Resource {
	docs := resourcev1.DeviceTaint{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "devicetaintrules",
		Singular:     "devicetaintrule",
		Kind:         "DeviceTaintRule",
		New:          func() runtime.Object { return &resourcev1.DeviceTaintRule{} },
		NewList:      func() runtime.Object { return &resourcev1.DeviceTaintRuleList{} },
		Generation:   true,
		Prepare:      prepareTaintRule,
		Check:        meta.Check(func(r *resourcev1.DeviceTaintRule) field.ErrorList { return checkTaintRule(r, nil) }),
		Update: resource.Update{
			PrepareUpdate: prepareTaintRuleUpdate,
			CheckUpdate: meta.CheckUpdate(func(r, old *resourcev1.DeviceTaintRule) field.ErrorList {
				return checkTaintRule(r, &old.Spec.Taint)
			}),
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {
				CheckUpdate: meta.CheckUpdate(func(r, _ *resourcev1.DeviceTaintRule) field.ErrorList { return checkTaintRuleStatus(r) }),
				Reset:       [][]string{{"metadata"}, {"spec"}},
			},
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Key", docs["key"]),
			meta.String("Value", docs["value"]),
			meta.String("Effect", docs["effect"]),
			meta.String("TimeAdded", docs["timeAdded"]),
			meta.Created(),
		),
		Row: meta.Row(taintRuleRow),
	}
}

func prepareTaintRule(ctx context.Context, obj runtime.Object) {
	if now, ok := meta.RequestTime(ctx); ok {
		date(&obj.(*resourcev1.DeviceTaintRule).Spec.Taint, now)
	}
}

// prepareTaintRuleUpdate dates a new effect, as the time that pods tolerate it
// for begins then.
func prepareTaintRuleUpdate(ctx context.Context, obj, before runtime.Object) {
	taint, old := &obj.(*resourcev1.DeviceTaintRule).Spec.Taint, &before.(*resourcev1.DeviceTaintRule).Spec.Taint
	now, ok := meta.RequestTime(ctx)
	if !ok {
		return
	}
	if taint.Effect != old.Effect && taint.TimeAdded.Equal(old.TimeAdded) {
		taint.TimeAdded = nil
	}
	date(taint, now)
}

func checkTaintRule(r *resourcev1.DeviceTaintRule, stored *resourcev1.DeviceTaint) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if selector := r.Spec.DeviceSelector; selector != nil {
		path := path.Child("deviceSelector")
		if selector.Driver != nil {
			errs = append(errs, meta.DriverName(path.Child("driver"), *selector.Driver)...)
		}
		if selector.Pool != nil {
			errs = append(errs, checkPoolName(path.Child("pool"), *selector.Pool)...)
		}
		if selector.Device != nil {
			errs = append(errs, meta.DNSLabel(path.Child("device"), *selector.Device)...)
		}
	}
	return append(errs, checkTaint(path.Child("taint"), r.Spec.Taint, stored)...)
}

func checkTaintRuleStatus(r *resourcev1.DeviceTaintRule) field.ErrorList {
	path := field.NewPath("status", "conditions")
	errs := metavalidation.ValidateConditions(r.Status.Conditions, path)
	if n := len(r.Status.Conditions); n > resourcev1.DeviceTaintRuleStatusMaxConditions {
		errs = append(errs, field.TooMany(path, n, resourcev1.DeviceTaintRuleStatusMaxConditions))
	}
	return errs
}

func taintRuleRow(r *resourcev1.DeviceTaintRule, now metav1.Time) []any {
	taint, added := r.Spec.Taint, ""
	if taint.TimeAdded != nil {
		added = meta.Age(*taint.TimeAdded, now)
	}
	return []any{r.Name, taint.Key, taint.Value, string(taint.Effect), added, meta.Age(r.CreationTimestamp, now)}
}
