package apps

import (
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ControllerRevision is a state that a controller may roll back to.
func controllerRevisions() resource.Resource {
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "controllerrevisions",
		Singular:     "controllerrevision",
		Kind:         "ControllerRevision",
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.ControllerRevision{} },
		NewList:      func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Check:        meta.Check(checkControllerRevision),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkControllerRevisionUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Controller", "Controller of the object"),
			meta.String("Revision", appsv1.ControllerRevision{}.SwaggerDoc()["revision"]),
			meta.Created(),
		),
		Row: meta.Row(controllerRevisionRow),
	}
}

func checkControllerRevision(r *appsv1.ControllerRevision) field.ErrorList {
	errs := meta.NonNegative(field.NewPath("revision"), r.Revision)
	path := field.NewPath("data")
	var value any
	if r.Data.Raw == nil {
		return append(errs, field.Required(path, "data is mandatory"))
	}
	if err := json.Unmarshal(r.Data.Raw, &value); err != nil {
		return append(errs, field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data: %v", err)))
	}
	if value == nil {
		return append(errs, field.Required(path, "data is mandatory"))
	}
	if _, object := value.(map[string]any); !object {
		return append(errs, field.Required(path, "data must be a valid JSON object"))
	}
	return errs
}

func checkControllerRevisionUpdate(r, old *appsv1.ControllerRevision) field.ErrorList {
	return append(meta.NonNegative(field.NewPath("revision"), r.Revision), meta.Unchanged(field.NewPath("data"), r.Data, old.Data)...)
}

func controllerRevisionRow(r *appsv1.ControllerRevision, now metav1.Time) []any {
	controller := meta.None
	if owner := metav1.GetControllerOf(r); owner != nil {
		controller = owner.Name
		if gv, err := schema.ParseGroupVersion(owner.APIVersion); err == nil {
			if kind := gv.WithKind(owner.Kind).GroupKind(); !kind.Empty() {
				controller = strings.ToLower(kind.String()) + "/" + owner.Name
			}
		}
	}
	return []any{r.Name, controller, r.Revision, meta.Age(r.CreationTimestamp, now)}
}
