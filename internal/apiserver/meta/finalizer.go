package meta

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Finalizers refuses finalizers that nobody owns; the rest of their rules is the library's.
func Finalizers(path *field.Path, names []string) field.ErrorList {
	var errs field.ErrorList
	for i, name := range names {
		errs = append(errs, Finalizer(path.Index(i), name)...)
	}
	return errs
}

// Finalizer: without a domain a finalizer must be one of the API's own.
func Finalizer(path *field.Path, name string) field.ErrorList {
	switch name {
	case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		return nil
	}
	if strings.Contains(name, "/") {
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")}
}
