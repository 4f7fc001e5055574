package registry

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	checks "github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// strategy applies a Resource's rules to one way of writing it: u is the
// resource itself (create, update, delete) or one of its subresources (update only).
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	r    resource.Resource
	u    resource.Update
	main bool
}

// graceful adds deletion with a grace period, for kinds with a Delete hook: to
// the library the method's presence is the answer.
type graceful struct{ strategy }

var (
	_ rest.RESTCreateStrategy         = strategy{}
	_ rest.RESTUpdateStrategy         = strategy{}
	_ rest.RESTGracefulDeleteStrategy = graceful{}
	_ rest.ResetFieldsStrategy        = strategy{}
)

func newStrategy(t runtime.ObjectTyper, r resource.Resource) strategy {
	return strategy{ObjectTyper: t, NameGenerator: names.SimpleNameGenerator, r: r, u: r.Update, main: true}
}

func (s strategy) sub(name string) strategy {
	s.u, s.main = s.r.Subresources[name], false
	return s
}

func (s strategy) NamespaceScoped() bool { return s.r.Namespaced }

func (s strategy) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	if _, ok := s.r.Subresources["status"]; ok && !s.r.StatusAtCreation {
		clearField(obj, "Status")
	}
	if s.r.Generation {
		accessor(obj).SetGeneration(1)
	}
	if s.r.Prepare != nil {
		s.r.Prepare(ctx, obj)
	}
}

func (s strategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	name := validation.NameIsDNSSubdomain
	if s.r.CheckName != nil {
		name = s.r.CheckName
	}
	errs := validation.ValidateObjectMetaAccessor(accessor(obj), s.r.Namespaced, name, field.NewPath("metadata"))
	errs = append(errs, checks.Finalizers(field.NewPath("metadata", "finalizers"), accessor(obj).GetFinalizers())...)
	if s.r.Check != nil {
		errs = append(errs, s.r.Check(ctx, obj)...)
	}
	return errs
}

func (s strategy) WarningsOnCreate(ctx context.Context, obj runtime.Object) []string {
	if s.r.Warn == nil {
		return nil
	}
	return s.r.Warn(ctx, obj)
}

func (strategy) Canonicalize(runtime.Object) {}

func (s strategy) AllowCreateOnUpdate(context.Context) bool      { return s.u.CreateOnUpdate }
func (s strategy) AllowUnconditionalUpdate(context.Context) bool { return s.u.Unconditional }

func (s strategy) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	for _, path := range s.u.Reset {
		s.reset(path, obj, old)
	}
	if s.u.PrepareUpdate != nil {
		s.u.PrepareUpdate(ctx, obj, old)
	}
	if s.r.Generation && s.specChanged(obj, old) {
		accessor(obj).SetGeneration(accessor(old).GetGeneration() + 1)
	}
}

// reset puts back what this way of updating never writes. Deeper paths are
// the kind's own to restore.
func (s strategy) reset(path []string, obj, old runtime.Object) {
	if len(path) != 1 {
		return
	}
	switch path[0] {
	case "status":
		copyField(obj, old, "Status")
	case "spec":
		copyField(obj, old, "Spec")
	case "metadata":
		metav1.ResetObjectMetaForStatus(accessor(obj), accessor(old))
	}
}

func (s strategy) specChanged(obj, old runtime.Object) bool {
	if s.r.SpecOf != nil {
		return !equality.Semantic.DeepEqual(s.r.SpecOf(obj), s.r.SpecOf(old))
	}
	a, b := reflect.ValueOf(obj).Elem(), reflect.ValueOf(old).Elem()
	for i := range a.NumField() {
		switch a.Type().Field(i).Name {
		case "TypeMeta", "ObjectMeta", "Status":
		default:
			if !equality.Semantic.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				return true
			}
		}
	}
	return false
}

// ValidateUpdate leaves metadata to the library, which checks it for every
// update, but for the finalizers' domains, which it doesn't know.
func (s strategy) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	errs := checks.Finalizers(field.NewPath("metadata", "finalizers"), accessor(obj).GetFinalizers())
	if s.u.CheckUpdate == nil {
		return errs
	}
	return append(errs, s.u.CheckUpdate(ctx, obj, old)...)
}

func (s strategy) WarningsOnUpdate(ctx context.Context, obj, old runtime.Object) []string {
	if s.u.WarnUpdate == nil {
		return nil
	}
	return s.u.WarnUpdate(ctx, obj, old)
}

// GetResetFields names what applying through this endpoint never owns.
func (s strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	if len(s.u.Reset) == 0 {
		return nil
	}
	set := fieldpath.NewSet()
	for _, path := range s.u.Reset {
		elements := make([]any, len(path))
		for i := range path {
			elements[i] = path[i]
		}
		set.Insert(fieldpath.MakePathOrDie(elements...))
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{fieldpath.APIVersion(s.r.GroupVersion.String()): set}
}

func (g graceful) CheckGracefulDelete(_ context.Context, obj runtime.Object, o *metav1.DeleteOptions) bool {
	grace, ok := g.r.Delete(obj, o.GracePeriodSeconds)
	if ok {
		o.GracePeriodSeconds = &grace
	}
	return ok
}

func accessor(obj runtime.Object) metav1.Object {
	m, err := meta.Accessor(obj)
	if err != nil {
		panic(err) // every served kind has metadata
	}
	return m
}

func clearField(obj runtime.Object, name string) {
	if f := reflect.ValueOf(obj).Elem().FieldByName(name); f.IsValid() {
		f.SetZero()
	}
}

func copyField(dst, src runtime.Object, name string) {
	d, s := reflect.ValueOf(dst).Elem().FieldByName(name), reflect.ValueOf(src).Elem().FieldByName(name)
	if d.IsValid() && s.IsValid() {
		d.Set(s)
	}
}
