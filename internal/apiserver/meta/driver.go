package meta

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DriverName checks the name of a CSI driver: it becomes part of labels, so no
// more than 63 characters.
func DriverName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > 63 {
		errs = append(errs, field.TooLong(path, "", 63))
	}
	if wrong := DNSSubdomain(path, strings.ToLower(name)); len(wrong) > 0 {
		errs = append(errs, field.Invalid(path, name, wrong[0].Detail))
	}
	return errs
}
