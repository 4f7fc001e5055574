package core

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// PodTemplates describes the pod template that stands by itself; nothing but the
// owner of ControllerRevisions of old uses it.
func PodTemplates() resource.Resource {
	at := field.NewPath("template")
	return resource.Resource{
		GroupVersion: v1.SchemeGroupVersion,
		Name:         "podtemplates",
		Singular:     "podtemplate",
		Kind:         "PodTemplate",
		Namespaced:   true,
		New:          func() runtime.Object { return &v1.PodTemplate{} },
		NewList:      func() runtime.Object { return &v1.PodTemplateList{} },
		Default:      meta.Default(func(t *v1.PodTemplate) { podspec.DefaultTemplate(&t.Template) }),
		Generation:   true,
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(t, _ *v1.PodTemplate) { podspec.DropUnservedInTemplate(&t.Template) }),
			CheckUpdate: meta.CheckUpdate(func(t, old *v1.PodTemplate) field.ErrorList {
				return podspec.ValidateTemplate(&t.Template, at, podspec.ToleratingTemplate(&old.Template))
			}),
			WarnUpdate:     meta.WarnUpdate(podTemplateUpdateWarnings),
			Unconditional:  true,
			CreateOnUpdate: false,
		},
		Prepare: meta.Prepare(func(t *v1.PodTemplate) { podspec.DropUnservedInTemplate(&t.Template) }),
		Check: meta.Check(func(t *v1.PodTemplate) field.ErrorList {
			return podspec.ValidateTemplate(&t.Template, at, podspec.Options{})
		}),
		Warn: meta.Warn(func(t *v1.PodTemplate) []string { return podspec.WarningsForTemplate(&t.Template, at) }),
		Columns: meta.Table(
			meta.Name(), meta.Containers(), meta.Images(),
			meta.String("Pod Labels", "The labels for the pod template."),
		),
		Row: meta.Row(func(t *v1.PodTemplate, _ metav1.Time) []any {
			names, images := meta.ContainerCells(t.Template.Spec.Containers)
			return []any{t.Name, names, images, labels.FormatLabels(t.Template.Labels)}
		}),
	}
}

// podTemplateUpdateWarnings: whoever changes only metadata is not told again.
func podTemplateUpdateWarnings(t, old *v1.PodTemplate) []string {
	if t.Generation == old.Generation {
		return nil
	}
	return podspec.WarningsForTemplate(&t.Template, field.NewPath("template"))
}
