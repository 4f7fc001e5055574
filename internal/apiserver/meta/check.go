package meta

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The wording of refusals is the API's: clients and people match on it.
const (
	Immutable  = "field is immutable"
	NotInteger = "must be an integer"
)

// Invalid turns the messages of a string check into errors of one field.
func Invalid[T any](path *field.Path, value T, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}

// DNSLabel, DNSSubdomain and QualifiedName check one string each.
func DNSLabel(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsDNS1123Label(value))
}

func DNSSubdomain(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsDNS1123Subdomain(value))
}

func QualifiedName(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsQualifiedName(value))
}

// Required refuses an empty string.
func Required(path *field.Path, value string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return nil
}

// PathSegment checks a name that becomes part of a URL; required is what to say
// where there is none.
func PathSegment(path *field.Path, value, required string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, required)}
	}
	return Invalid(path, value, content.IsPathSegmentName(value))
}

// OneOf refuses a value outside of allowed; an empty value is a missing one.
func OneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return Supported(path, value, allowed...)
}

// Supported is OneOf where an empty value is as wrong as any other.
func Supported[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, slices.Sorted(slices.Values(allowed)))}
}

// NonNegative refuses a negative number.
func NonNegative[T ~int32 | ~int64](path *field.Path, value T) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(int64(value), path)
}

// Positive refuses a number below one.
func Positive[T ~int32 | ~int64](path *field.Path, value T) field.ErrorList {
	if value > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, int64(value), "must be greater than 0")}
}

// Quantity refuses a negative quantity, PositiveQuantity also zero.
func Quantity(path *field.Path, value resource.Quantity) field.ErrorList {
	if value.Sign() >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.String(), apivalidation.IsNegativeErrorMsg)}
}

func PositiveQuantity(path *field.Path, value resource.Quantity) field.ErrorList {
	if value.Sign() > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value.String(), "must be greater than zero")}
}

// Port checks a port number.
func Port[T ~int32](path *field.Path, value T) field.ErrorList {
	return Invalid(path, value, validation.IsValidPortNum(int(value)))
}

// PortOrName checks a port given by number or name.
func PortOrName(path *field.Path, port intstr.IntOrString) field.ErrorList {
	switch port.Type {
	case intstr.Int:
		return Invalid(path, port.IntValue(), validation.IsValidPortNum(port.IntValue()))
	case intstr.String:
		return Invalid(path, port.StrVal, validation.IsValidPortName(port.StrVal))
	default:
		return field.ErrorList{field.InternalError(path, errUnknownPortType)}
	}
}

// CountOrPercent checks a number of pods that may be given as a share of them.
func CountOrPercent(path *field.Path, value intstr.IntOrString) field.ErrorList {
	if value.Type == intstr.String {
		return Invalid(path, value, validation.IsValidPercent(value.StrVal))
	}
	return NonNegative(path, int64(value.IntValue()))
}

// IsZero tells a count or share of nothing.
func IsZero(value intstr.IntOrString) bool {
	if percent, ok := Percent(value); ok {
		return percent == 0
	}
	return value.IntValue() == 0
}

// AtMostAll refuses a share of more than 100%.
func AtMostAll(path *field.Path, value intstr.IntOrString) field.ErrorList {
	if percent, ok := Percent(value); ok && percent > 100 {
		return field.ErrorList{field.Invalid(path, value, "must not be greater than 100%")}
	}
	return nil
}

// Percent is the number before the percent sign; not ok where there is none.
func Percent(value intstr.IntOrString) (int, bool) {
	if value.Type != intstr.String || len(validation.IsValidPercent(value.StrVal)) != 0 {
		return 0, false
	}
	n := 0
	for _, digit := range strings.TrimSuffix(value.StrVal, "%") {
		n = min(n*10+int(digit-'0'), 1<<20) // the cap only keeps absurd input from overflowing
	}
	return n, true
}

// Unchanged refuses a field that differs from what is stored.
func Unchanged(path *field.Path, value, old any) field.ErrorList {
	if equality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, Immutable)}
}

// Selector checks a label selector strictly.
func Selector(path *field.Path, selector *metav1.LabelSelector) field.ErrorList {
	return metavalidation.ValidateLabelSelector(selector, metavalidation.LabelSelectorValidationOptions{}, path)
}

// SelectorEmpty tells a selector that selects everything.
func SelectorEmpty(selector *metav1.LabelSelector) bool {
	return len(selector.MatchLabels)+len(selector.MatchExpressions) == 0
}

// SelectorUpdate is Selector at an update: what is stored with a label value that
// older rules let pass may stay.
func SelectorUpdate(path *field.Path, selector, old *metav1.LabelSelector) field.ErrorList {
	tolerant := metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: old != nil && metavalidation.LabelSelectorHasInvalidLabelValue(old),
	}
	return metavalidation.ValidateLabelSelector(selector, tolerant, path)
}

// Sorted lists a map's keys in order, so that errors come in a stable order.
func Sorted[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// Join is the concatenation of lists of errors.
func Join(lists ...field.ErrorList) field.ErrorList {
	return slices.Concat(lists...)
}
