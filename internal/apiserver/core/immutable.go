package core

import (
	"reflect"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const frozen = "field is immutable when `immutable` is set"

// checkStaysImmutable and checkFrozen are the promise of immutable: true, which
// lets nodes stop watching a ConfigMap or Secret: it holds until the object is deleted.
func checkStaysImmutable(immutable *bool) field.ErrorList {
	if meta.Deref(immutable, false) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("immutable"), frozen)}
}

func checkFrozen(name string, value, old any) field.ErrorList {
	if reflect.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath(name), frozen)}
}
