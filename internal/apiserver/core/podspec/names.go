package podspec

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func quote(s string) string { return strconv.Quote(s) }

// objectName checks the name of an API object that is referred to.
func objectName(at *field.Path, name string) field.ErrorList {
	return meta.Invalid(at, name, apivalidation.NameIsDNSSubdomain(name, false))
}

// relativePath refuses paths that leave the folder they are meant for.
func relativePath(at *field.Path, target string) field.ErrorList {
	var errs field.ErrorList
	if path.IsAbs(target) {
		errs = append(errs, field.Invalid(at, target, "must be a relative path"))
	}
	return append(errs, noBacksteps(at, target)...)
}

func noBacksteps(at *field.Path, target string) field.ErrorList {
	if slices.Contains(strings.Split(filepath.ToSlash(target), "/"), "..") {
		return field.ErrorList{field.Invalid(at, target, "must not contain '..'")}
	}
	return nil
}

// projectedPath is relativePath for files that are published atomically: names
// that begin with two dots are the publisher's own ("..data").
func projectedPath(at *field.Path, target string) field.ErrorList {
	errs := relativePath(at, target)
	if strings.HasPrefix(target, "..") && !strings.HasPrefix(target, "../") {
		errs = append(errs, field.Invalid(at, target, "must not start with '..'"))
	}
	return errs
}

// oneOf is meta.OneOf for the fields whose values the API lists in an order of its own.
func oneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(at, value, allowed)}
}
