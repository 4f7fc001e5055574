package resourceapi

import (
	"encoding/json"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkConfig checks what a driver is told; what was stored may be of any size.
func checkConfig(path *field.Path, config resourcev1.DeviceConfiguration, stored bool) field.ErrorList {
	path = path.Child("opaque")
	if config.Opaque == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	limit := resourcev1.OpaqueParametersMaxLength
	if stored {
		limit = unlimited
	}
	return append(checkDriver(path.Child("driver"), config.Opaque.Driver),
		checkJSONObject(path.Child("parameters"), config.Opaque.Parameters, limit)...)
}

func checkJSONObject(path *field.Path, value runtime.RawExtension, limit int) field.ErrorList {
	const omitted = "<value omitted>"
	switch raw := value.Raw; {
	case len(raw) == 0:
		return field.ErrorList{field.Required(path, "")}
	case limit >= 0 && len(raw) > limit:
		return field.ErrorList{field.TooLong(path, "", limit)}
	}
	var parsed any
	if err := json.Unmarshal(value.Raw, &parsed); err != nil {
		return field.ErrorList{field.Invalid(path, omitted, "error parsing data as JSON: "+err.Error())}
	}
	if parsed == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	if _, object := parsed.(map[string]any); !object {
		return field.ErrorList{field.Invalid(path, omitted, "must be a valid JSON object")}
	}
	return nil
}

// checkSelector checks that there is an expression of acceptable length. Whether
// it means anything is found out by whoever evaluates it.
func checkSelector(path *field.Path, selector resourcev1.DeviceSelector) field.ErrorList {
	path = path.Child("cel")
	if selector.CEL == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(selector.CEL.Expression) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(path.Child("expression"), "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	return nil
}
