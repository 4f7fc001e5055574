package podspec

import (
	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
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
			errs = append(errs, meta.NodeSelector(path.Child(required), n.RequiredDuringSchedulingIgnoredDuringExecution, opts.AllowInvalidNodeAffinityValues)...)
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

// checkPreferredNodes lets wrong label values pass: a wish that no node fulfils does no harm.
func checkPreferredNodes(terms []v1.PreferredSchedulingTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range terms {
		errs = append(errs, checkWeight(terms[i].Weight, path.Index(i).Child("weight"))...)
		errs = append(errs, meta.NodeTerm(path.Index(i).Child("preference"), terms[i].Preference, true)...)
	}
	return errs
}

func checkWeight(weight int32, at *field.Path) field.ErrorList {
	if weight <= 0 || weight > 100 {
		return field.ErrorList{field.Invalid(at, weight, "must be in the range 1-100")}
	}
	return nil
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
