package nodeapi

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A RuntimeClass names a way of running containers, and what it costs and needs.
func runtimeClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: nodev1.SchemeGroupVersion,
		Name:         "runtimeclasses",
		Singular:     "runtimeclass",
		Kind:         "RuntimeClass",
		New:          func() runtime.Object { return &nodev1.RuntimeClass{} },
		NewList:      func() runtime.Object { return &nodev1.RuntimeClassList{} },
		Default:      meta.Default(defaultRuntimeClass),
		Check:        meta.Check(checkRuntimeClass),
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(checkRuntimeClassUpdate),
			CreateOnUpdate: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("Handler", ""), meta.Created()),
		Row: meta.Row(func(c *nodev1.RuntimeClass, now metav1.Time) []any {
			return []any{c.Name, c.Handler, meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func defaultRuntimeClass(c *nodev1.RuntimeClass) {
	if c.Overhead != nil {
		meta.RoundUp(c.Overhead.PodFixed)
	}
}

func checkRuntimeClass(c *nodev1.RuntimeClass) field.ErrorList {
	handler := field.NewPath("handler")
	var errs field.ErrorList
	if c.Handler == "" {
		errs = append(errs, field.Required(handler, ""))
	} else {
		errs = append(errs, meta.DNSLabel(handler, c.Handler)...)
	}
	if c.Overhead != nil {
		errs = append(errs, checkOverhead(field.NewPath("overhead", "limits"), c.Overhead.PodFixed)...)
	}
	if c.Scheduling == nil {
		return errs
	}
	path := field.NewPath("scheduling")
	errs = append(errs, metavalidation.ValidateLabels(c.Scheduling.NodeSelector, path.Child("nodeSelector"))...)
	return append(errs, checkTolerations(path.Child("tolerations"), c.Scheduling.Tolerations)...)
}

// checkOverhead: what a runtime costs is a limit like a container's, and is named so.
func checkOverhead(path *field.Path, list corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, name := range meta.Sorted(list) {
		at := path.Key(string(name))
		errs = append(errs, meta.ContainerResourceName(at, name)...)
		errs = append(errs, meta.ResourceAmount(at, name, list[name])...)
	}
	return errs
}

func checkTolerations(path *field.Path, tolerations []corev1.Toleration) field.ErrorList {
	errs := podspec.ValidateTolerations(tolerations, path)
	for i, t := range tolerations {
		if slices.ContainsFunc(tolerations[:i], func(other corev1.Toleration) bool {
			return t.Key == other.Key && t.Operator == other.Operator && t.Value == other.Value && t.Effect == other.Effect
		}) {
			errs = append(errs, field.Duplicate(path.Index(i), t))
		}
	}
	return errs
}

func checkRuntimeClassUpdate(c, old *nodev1.RuntimeClass) field.ErrorList {
	return append(checkRuntimeClass(c), meta.Unchanged(field.NewPath("handler"), c.Handler, old.Handler)...)
}
