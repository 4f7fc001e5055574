package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	served "github.com/proa-project/proa/internal/apiserver/resource"
)

// A LimitRange bounds, and fills in, what single pods, containers and claims of a namespace ask for.
func limitRanges() served.Resource {
	return served.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "limitranges",
		Singular:     "limitrange",
		Kind:         "LimitRange",
		ShortNames:   []string{"limits"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.LimitRange{} },
		NewList:      func() runtime.Object { return &corev1.LimitRangeList{} },
		Default:      meta.Default(defaultLimitRange),
		Check:        meta.Check(checkLimitRange),
		Update: served.Update{
			CheckUpdate:    meta.CheckUpdate(func(l, _ *corev1.LimitRange) field.ErrorList { return checkLimitRange(l) }),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: meta.PlainColumns(),
		Row:     meta.Row(func(l *corev1.LimitRange, _ metav1.Time) []any { return meta.PlainRow(l) }),
	}
}

func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type == corev1.LimitTypeContainer {
			defaultContainerLimits(item)
		}
		for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
			meta.RoundUp(list)
		}
	}
}

// defaultContainerLimits: a limit falls back to the maximum, a request to the
// limit and then to the minimum.
func defaultContainerLimits(item *corev1.LimitRangeItem) {
	if item.Default == nil {
		item.Default = corev1.ResourceList{}
	}
	if item.DefaultRequest == nil {
		item.DefaultRequest = corev1.ResourceList{}
	}
	fill(item.Default, item.Max)
	fill(item.DefaultRequest, item.Default)
	fill(item.DefaultRequest, item.Min)
}

func fill(list, from corev1.ResourceList) {
	for name, quantity := range from {
		if _, set := list[name]; !set {
			list[name] = quantity.DeepCopy()
		}
	}
}

func checkLimitRange(l *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	types := sets.New[corev1.LimitType]()
	for i := range l.Spec.Limits {
		item, at := &l.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
		errs = append(errs, checkLimitType(at.Child("type"), item.Type)...)
		if types.Has(item.Type) {
			errs = append(errs, field.Duplicate(at.Child("type"), item.Type))
		}
		types.Insert(item.Type)
		errs = append(errs, checkLimitNames(at, item)...)
		for _, name := range limitedNames(item) {
			errs = append(errs, checkLimit(at, item, name)...)
		}
	}
	return errs
}

func checkLimitType(path *field.Path, t corev1.LimitType) field.ErrorList {
	if messages := validation.IsQualifiedName(string(t)); len(messages) > 0 {
		return meta.Invalid(path, t, messages)
	}
	known := []corev1.LimitType{corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim}
	if !strings.Contains(string(t), "/") && !slices.Contains(known, t) {
		return field.ErrorList{field.Invalid(path, t, "must be a standard limit type or fully qualified")}
	}
	return nil
}

func checkLimitNames(path *field.Path, item *corev1.LimitRangeItem) field.ErrorList {
	var errs field.ErrorList
	names := func(member string, list corev1.ResourceList) {
		for _, name := range meta.Sorted(list) {
			at := path.Child(member).Key(string(name))
			if item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer {
				errs = append(errs, meta.ContainerResourceName(at, name)...)
			} else {
				errs = append(errs, meta.ResourceName(at, name)...)
			}
		}
	}
	names("max", item.Max)
	names("min", item.Min)
	if item.Type == corev1.LimitTypePod {
		if len(item.Default) > 0 {
			errs = append(errs, field.Forbidden(path.Child("default"), "may not be specified when `type` is 'Pod'"))
		}
		if len(item.DefaultRequest) > 0 {
			errs = append(errs, field.Forbidden(path.Child("defaultRequest"), "may not be specified when `type` is 'Pod'"))
		}
	} else {
		names("default", item.Default)
		names("defaultRequest", item.DefaultRequest)
	}
	_, hasMin := item.Min[corev1.ResourceStorage]
	_, hasMax := item.Max[corev1.ResourceStorage]
	if item.Type == corev1.LimitTypePersistentVolumeClaim && !hasMin && !hasMax {
		errs = append(errs, field.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
	}
	names("maxLimitRequestRatio", item.MaxLimitRequestRatio)
	return errs
}

func limitedNames(item *corev1.LimitRangeItem) []corev1.ResourceName {
	lists := []corev1.ResourceList{item.Max, item.Min, item.MaxLimitRequestRatio}
	if item.Type != corev1.LimitTypePod {
		lists = append(lists, item.Default, item.DefaultRequest)
	}
	names := sets.New[corev1.ResourceName]()
	for _, list := range lists {
		names.Insert(meta.Sorted(list)...)
	}
	return sets.List(names)
}

// checkLimit checks that one resource's bounds and defaults are in order.
func checkLimit(path *field.Path, item *corev1.LimitRangeItem, name corev1.ResourceName) field.ErrorList {
	key := string(name)
	lowest, hasLowest := item.Min[name]
	highest, hasHighest := item.Max[name]
	limit, hasLimit := item.Default[name]
	request, hasRequest := item.DefaultRequest[name]
	ratio, hasRatio := item.MaxLimitRequestRatio[name]
	if item.Type == corev1.LimitTypePod {
		hasLimit, hasRequest = false, false
	}
	var errs field.ErrorList
	ordered := func(both bool, less, more resource.Quantity, lessName, moreName, blamed string, value resource.Quantity) {
		if both && less.Cmp(more) > 0 {
			errs = append(errs, field.Invalid(path.Child(blamed).Key(key), value,
				fmt.Sprintf("%s value %s is greater than %s value %s", lessName, less.String(), moreName, more.String())))
		}
	}
	ordered(hasLowest && hasHighest, lowest, highest, "min", "max", "min", lowest)
	ordered(hasRequest && hasLowest, lowest, request, "min", "default request", "defaultRequest", request)
	ordered(hasRequest && hasHighest, request, highest, "default request", "max", "defaultRequest", request)
	ordered(hasRequest && hasLimit, request, limit, "default request", "default limit", "defaultRequest", request)
	ordered(hasLimit && hasLowest, lowest, limit, "min", "default", "default", lowest)
	ordered(hasLimit && hasHighest, limit, highest, "default", "max", "default", highest)
	if hasRatio {
		errs = append(errs, checkRatio(path.Child("maxLimitRequestRatio").Key(key), ratio, lowest, highest, hasLowest && hasHighest)...)
	}
	if !meta.Overcommits(name) && hasLimit && hasRequest && limit.Cmp(request) != 0 {
		errs = append(errs, field.Invalid(path.Child("defaultRequest").Key(key), request,
			fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", limit.String(), request.String(), name)))
	}
	return errs
}

func checkRatio(path *field.Path, ratio, lowest, highest resource.Quantity, bounded bool) field.ErrorList {
	var errs field.ErrorList
	if ratio.Cmp(resource.MustParse("1")) < 0 {
		errs = append(errs, field.Invalid(path, ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	if !bounded || lowest.IsZero() {
		return errs
	}
	if possible := highest.AsApproximateFloat64() / lowest.AsApproximateFloat64(); ratio.AsApproximateFloat64() > possible {
		errs = append(errs, field.Invalid(path, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), possible)))
	}
	return errs
}
