package podspec

import (
	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func checkAffinity(a *v1.Affinity, at *field.Path, opts Options) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		path := at.Child("nodeAffinity")
		if n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			errs = append(errs, ValidateNodeSelector(n.RequiredDuringSchedulingIgnoredDuringExecution, path.Child(required), opts.AllowInvalidNodeAffinityValues)...)
		}
		errs = append(errs, checkPreferredNodes(n.PreferredDuringSchedulingIgnoredDuringExecution, path.Child(preferred))...)
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, checkPodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"), opts)...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, checkPodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"), opts)...)
	}
	return errs
}

// ValidateNodeSelector reports what is wrong with a selector of nodes, as pods
// and persistent volumes have them.
func ValidateNodeSelector(selector *v1.NodeSelector, at *field.Path, allowInvalidValues bool) field.ErrorList {
	path := at.Child("nodeSelectorTerms")
	if len(selector.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(path, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i := range selector.NodeSelectorTerms {
		errs = append(errs, checkNodeTerm(&selector.NodeSelectorTerms[i], path.Index(i), allowInvalidValues)...)
	}
	return errs
}

// checkPreferredNodes lets wrong label values pass: a wish that no node fulfils does no harm.
func checkPreferredNodes(terms []v1.PreferredSchedulingTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range terms {
		errs = append(errs, checkWeight(terms[i].Weight, path.Index(i).Child("weight"))...)
		errs = append(errs, checkNodeTerm(&terms[i].Preference, path.Index(i).Child("preference"), true)...)
	}
	return errs
}

func checkWeight(weight int32, at *field.Path) field.ErrorList {
	if weight <= 0 || weight > 100 {
		return field.ErrorList{field.Invalid(at, weight, "must be in the range 1-100")}
	}
	return nil
}

func checkNodeTerm(term *v1.NodeSelectorTerm, at *field.Path, allowInvalidValues bool) field.ErrorList {
	var errs field.ErrorList
	for i, r := range term.MatchExpressions {
		errs = append(errs, checkNodeExpression(r, at.Child("matchExpressions").Index(i), allowInvalidValues)...)
	}
	for i, r := range term.MatchFields {
		errs = append(errs, checkNodeField(r, at.Child("matchFields").Index(i))...)
	}
	return errs
}

func checkNodeExpression(r v1.NodeSelectorRequirement, at *field.Path, allowInvalidValues bool) field.ErrorList {
	var errs field.ErrorList
	values := at.Child("values")
	switch r.Operator {
	case v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case v1.NodeSelectorOpExists, v1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case v1.NodeSelectorOpGt, v1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	errs = append(errs, metavalidation.ValidateLabelName(r.Key, at.Child("key"))...)
	if allowInvalidValues {
		return errs
	}
	for i, value := range r.Values {
		errs = append(errs, meta.Invalid(values.Index(i), value, validation.IsValidLabelValue(value))...)
	}
	return errs
}

// checkNodeField: the only field of a node to select by is its name.
func checkNodeField(r v1.NodeSelectorRequirement, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	if r.Key != metav1.ObjectNameField {
		return append(errs, field.Invalid(at.Child("key"), r.Key, "not a valid field selector key"))
	}
	for i, value := range r.Values {
		errs = append(errs, objectName(at.Child("values").Index(i), value)...)
	}
	return errs
}

func checkPodTerms(must []v1.PodAffinityTerm, should []v1.WeightedPodAffinityTerm, at *field.Path, opts Options) field.ErrorList {
	var errs field.ErrorList
	for i := range must {
		errs = append(errs, checkPodTerm(&must[i], at.Child(required).Index(i), opts)...)
	}
	for i := range should {
		path := at.Child(preferred).Index(i)
		errs = append(errs, checkWeight(should[i].Weight, path.Child("weight"))...)
		errs = append(errs, checkPodTerm(&should[i].PodAffinityTerm, path.Child("podAffinityTerm"), opts)...)
	}
	return errs
}

func checkPodTerm(term *v1.PodAffinityTerm, at *field.Path, opts Options) field.ErrorList {
	errs := checkPodTermSelectors(term, at, opts.AllowInvalidSelectorValues)
	for _, name := range term.Namespaces {
		errs = append(errs, meta.Invalid(at.Child("namespace"), name, apivalidation.ValidateNamespaceName(name, false))...)
	}
	errs = append(errs, checkMatchLabelKeys(term.MatchLabelKeys, term.MismatchLabelKeys, term.LabelSelector, at)...)
	if term.TopologyKey == "" {
		errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metavalidation.ValidateLabelName(term.TopologyKey, at.Child("topologyKey"))...)
}

func checkPodTermSelectors(term *v1.PodAffinityTerm, at *field.Path, allowInvalidValues bool) field.ErrorList {
	opts := metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: allowInvalidValues}
	return meta.Join(
		metavalidation.ValidateLabelSelector(term.LabelSelector, opts, at.Child("labelSelector")),
		metavalidation.ValidateLabelSelector(term.NamespaceSelector, opts, at.Child("namespaceSelector")),
	)
}
