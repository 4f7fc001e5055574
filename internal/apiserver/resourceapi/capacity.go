package resourceapi

import (
	"fmt"
	"math"
	"math/big"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// mostValues is how many amounts a policy may list.
const mostValues = 10

// checkCapacity: only what several claims may share can say how it is shared out.
func checkCapacity(path *field.Path, capacity resourcev1.DeviceCapacity, shared bool) field.ErrorList {
	path, policy := path.Child("requestPolicy"), capacity.RequestPolicy
	switch {
	case policy == nil:
		return nil
	case !shared:
		return field.ErrorList{field.Forbidden(path, "allowMultipleAllocations must be true")}
	case len(policy.ValidValues) > 0 && policy.ValidRange != nil:
		return field.ErrorList{field.Forbidden(path, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	case len(policy.ValidValues) > 0 && policy.Default == nil:
		return field.ErrorList{field.Required(path.Child("default"), "required when validValues is defined")}
	case len(policy.ValidValues) > 0:
		return checkValues(path.Child("validValues"), *policy.Default, capacity.Value, policy.ValidValues)
	case policy.ValidRange != nil && policy.Default == nil:
		return field.ErrorList{field.Required(path.Child("default"), "required when validRange is defined")}
	case policy.ValidRange != nil:
		return checkRange(path.Child("validRange"), *policy.Default, capacity.Value, *policy.ValidRange)
	}
	return nil
}

func checkValues(path *field.Path, chosen, most resource.Quantity, values []resource.Quantity) field.ErrorList {
	var errs field.ErrorList
	found := false
	for i, value := range values {
		if i > 0 && values[i-1].Cmp(value) > 0 {
			errs = append(errs, field.Invalid(path.Index(i), value.String(), "values must be sorted in ascending order"))
		}
		found = found || value.Cmp(chosen) == 0
	}
	exact := func(q resource.Quantity) string { return q.AsDec().String() }
	errs = append(errs, checkSet(path, values, mostValues, exact,
		func(path *field.Path, value resource.Quantity) field.ErrorList {
			if value.Cmp(most) > 0 {
				return field.ErrorList{field.Invalid(path, value.String(), "option is larger than capacity value: "+most.String())}
			}
			return nil
		})...)
	if !found {
		errs = append(errs, field.Invalid(path, chosen.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

func checkRange(path *field.Path, chosen, most resource.Quantity, r resourcev1.CapacityRequestPolicyRange) field.ErrorList {
	if r.Min == nil {
		return field.ErrorList{field.Required(path.Child("min"), "required when validRange is defined")}
	}
	var errs field.ErrorList
	ordered := func(name string, shown, low, high resource.Quantity, message string, of resource.Quantity) {
		if low.Cmp(high) > 0 {
			errs = append(errs, field.Invalid(path.Child(name), shown.String(), message+": "+of.String()))
		}
	}
	ordered("min", *r.Min, *r.Min, most, "min is larger than capacity value", most)
	ordered("default", chosen, *r.Min, chosen, "default is less than min", *r.Min)
	if r.Max != nil {
		ordered("max", *r.Min, *r.Min, *r.Max, "min is larger than max", *r.Max)
		ordered("max", *r.Max, *r.Max, most, "max is larger than capacity value", most)
		ordered("default", chosen, chosen, *r.Max, "default is more than max", *r.Max)
	}
	return append(errs, checkStep(path, chosen, most, r)...)
}

// checkStep counts in thousandths where anything is a fraction, and in whole
// numbers else, as whoever shares the capacity out does.
func checkStep(path *field.Path, chosen, most resource.Quantity, r resourcev1.CapacityRequestPolicyRange) field.ErrorList {
	step := path.Child("step")
	named := []struct {
		name string
		q    *resource.Quantity
	}{{"default", &chosen}, {"min", r.Min}, {"max", r.Max}, {"step", r.Step}}
	fraction := false
	for _, n := range named {
		fraction = fraction || n.q != nil && fractional(*n.q)
	}
	var errs, wide field.ErrorList
	for _, n := range named {
		if n.q == nil {
			continue
		}
		switch at := path.Child(n.name); {
		case fraction && n.q.Cmp(*resource.NewMilliQuantity(n.q.MilliValue(), n.q.Format)) != 0:
			errs = append(errs, field.Invalid(at, n.q.String(), "value cannot be represented as a milli value"))
		case fraction:
		case n.q.Sign() < 0:
			wide = append(wide, field.Invalid(at, n.q.String(), apivalidation.IsNegativeErrorMsg))
		case n.q.CmpInt64(math.MaxInt64) > 0:
			wide = append(wide, field.Invalid(at, n.q.String(), fmt.Sprintf("must not be larger than %d", math.MaxInt64)))
		}
	}
	if len(errs) > 0 || r.Step == nil {
		return errs
	}
	if r.Step.Sign() <= 0 {
		return field.ErrorList{field.Invalid(step, r.Step.String(), "must be greater than zero")}
	}
	next := r.Min.DeepCopy()
	next.Add(*r.Step)
	if next.Cmp(most) > 0 {
		errs = append(errs, field.Invalid(step, r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", next.String(), most.String())))
	}
	if len(wide) > 0 {
		return append(errs, wide...)
	}
	count := func(q resource.Quantity) int64 {
		if fraction {
			return q.MilliValue()
		}
		return q.Value()
	}
	for _, value := range []*resource.Quantity{&chosen, r.Max} {
		if value != nil && (count(*value)-count(*r.Min))%count(*r.Step) != 0 {
			errs = append(errs, field.Invalid(step, value.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String())))
		}
	}
	return errs
}

func fractional(q resource.Quantity) bool {
	dec := q.AsDec()
	if dec.Scale() <= 0 {
		return false
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(dec.Scale())), nil)
	return new(big.Int).Rem(dec.UnscaledBig(), unit).Sign() != 0
}
