package meta

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The adapters assert the type without a check: the server hands a hook only
// objects of the kind its Resource declares, anything else is a bug worth a panic.

// Default lifts a defaulting function.
func Default[T runtime.Object](f func(T)) func(runtime.Object) {
	return func(obj runtime.Object) { f(obj.(T)) }
}

// Prepare lifts a preparation for creation.
func Prepare[T runtime.Object](f func(T)) func(context.Context, runtime.Object) {
	return func(_ context.Context, obj runtime.Object) { f(obj.(T)) }
}

// Check lifts a check at creation.
func Check[T runtime.Object](f func(T) field.ErrorList) func(context.Context, runtime.Object) field.ErrorList {
	return func(_ context.Context, obj runtime.Object) field.ErrorList { return f(obj.(T)) }
}

// Warn lifts warnings at creation.
func Warn[T runtime.Object](f func(T) []string) func(context.Context, runtime.Object) []string {
	return func(_ context.Context, obj runtime.Object) []string { return f(obj.(T)) }
}

// PrepareUpdate lifts a preparation of an update.
func PrepareUpdate[T runtime.Object](f func(obj, old T)) func(_ context.Context, obj, old runtime.Object) {
	return func(_ context.Context, obj, old runtime.Object) { f(obj.(T), old.(T)) }
}

// CheckUpdate lifts a check of an update.
func CheckUpdate[T runtime.Object](f func(obj, old T) field.ErrorList) func(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return func(_ context.Context, obj, old runtime.Object) field.ErrorList { return f(obj.(T), old.(T)) }
}

// WarnUpdate lifts warnings of an update.
func WarnUpdate[T runtime.Object](f func(obj, old T) []string) func(_ context.Context, obj, old runtime.Object) []string {
	return func(_ context.Context, obj, old runtime.Object) []string { return f(obj.(T), old.(T)) }
}

// Fields lifts the list of selectable fields.
func Fields[T runtime.Object](f func(T) fields.Set) func(runtime.Object) fields.Set {
	return func(obj runtime.Object) fields.Set { return f(obj.(T)) }
}

// Spec lifts the part of an object whose change raises metadata.generation.
func Spec[T runtime.Object](f func(T) any) func(runtime.Object) any {
	return func(obj runtime.Object) any { return f(obj.(T)) }
}

// Row lifts the cells of a table row.
func Row[T runtime.Object](f func(obj T, now metav1.Time) []any) func(runtime.Object, metav1.Time) []any {
	return func(obj runtime.Object, now metav1.Time) []any { return f(obj.(T), now) }
}
