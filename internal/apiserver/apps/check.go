package apps

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const moreThanReplicas = "cannot be greater than status.replicas"

// notSupported blames a whole strategy for its type.
func notSupported(path *field.Path, value any, types ...string) field.ErrorList {
	quoted := make([]string, len(types))
	for i, t := range types {
		quoted[i] = fmt.Sprintf("%q", t)
	}
	return field.ErrorList{{
		Type: field.ErrorTypeNotSupported, Field: path.String(), BadValue: value,
		Detail: "supported values: " + strings.Join(quoted, ", "),
	}}
}
