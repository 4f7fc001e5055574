package resourceapi

import (
	"reflect"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ResourceClaimTemplate is what claims of pods are made from.
func resourceClaimTemplates() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceclaimtemplates",
		Singular:     "resourceclaimtemplate",
		Kind:         "ResourceClaimTemplate",
		Namespaced:   true,
		New:          func() runtime.Object { return &resourcev1.ResourceClaimTemplate{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceClaimTemplateList{} },
		Default:      meta.Default(func(t *resourcev1.ResourceClaimTemplate) { defaultClaimSpec(&t.Spec.Spec) }),
		Prepare:      meta.Prepare(func(t *resourcev1.ResourceClaimTemplate) { dropDerived(&t.Spec.Spec) }),
		Check:        meta.Check(checkClaimTemplate),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
				return append(checkClaimTemplate(t), meta.Unchanged(field.NewPath("spec"), t.Spec, old.Spec)...)
			}),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.Created()),
		Row: meta.Row(func(t *resourcev1.ResourceClaimTemplate, now metav1.Time) []any {
			return []any{t.Name, meta.Age(t.CreationTimestamp, now)}
		}),
	}
}

func checkClaimTemplate(t *resourcev1.ResourceClaimTemplate) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(checkTemplateMeta(path.Child("metadata"), t.Spec.ObjectMeta), checkClaimSpec(path.Child("spec"), &t.Spec.Spec))
}

// checkTemplateMeta: only labels and annotations are copied to the claim.
func checkTemplateMeta(path *field.Path, m metav1.ObjectMeta) field.ErrorList {
	errs := append(
		apivalidation.ValidateAnnotations(m.Annotations, path.Child("annotations")),
		metavalidation.ValidateLabels(m.Labels, path.Child("labels"))...)
	m.Annotations, m.Labels = nil, nil
	for value, i := reflect.ValueOf(m), 0; i < value.NumField(); i++ {
		if !value.Field(i).IsZero() {
			name := value.Type().Field(i).Name
			errs = append(errs, field.Forbidden(path.Child(strings.ToLower(name[:1])+name[1:]), "cannot be set"))
		}
	}
	return errs
}
