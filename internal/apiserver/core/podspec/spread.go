package podspec

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkTopologySpread(constraints []v1.TopologySpreadConstraint, path *field.Path, opts Options) field.ErrorList {
	var errs field.ErrorList
	for i := range constraints {
		c, at := &constraints[i], path.Index(i)
		errs = append(errs, positive(at.Child("maxSkew"), c.MaxSkew)...)
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		}
		errs = append(errs, meta.Supported(at.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, v1.DoNotSchedule, v1.ScheduleAnyway)...)
		if slices.ContainsFunc(constraints[i+1:], func(other v1.TopologySpreadConstraint) bool {
			return other.TopologyKey == c.TopologyKey && other.WhenUnsatisfiable == c.WhenUnsatisfiable
		}) {
			errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)))
		}
		errs = append(errs, meta.Join(
			checkMinDomains(c, at.Child("minDomains")),
			checkInclusion(c.NodeAffinityPolicy, at.Child("nodeAffinityPolicy")),
			checkInclusion(c.NodeTaintsPolicy, at.Child("nodeTaintsPolicy")),
			checkSpreadLabelKeys(c, at, opts),
		)...)
		if !opts.AllowInvalidSpreadSelector {
			errs = append(errs, meta.Selector(at.Child("labelSelector"), c.LabelSelector)...)
		}
	}
	return errs
}

func positive(at *field.Path, n int32) field.ErrorList {
	if n <= 0 {
		return field.ErrorList{field.Invalid(at, n, "must be greater than zero")}
	}
	return nil
}

func checkMinDomains(c *v1.TopologySpreadConstraint, at *field.Path) field.ErrorList {
	if c.MinDomains == nil {
		return nil
	}
	errs := positive(at, *c.MinDomains)
	if c.WhenUnsatisfiable != v1.DoNotSchedule {
		errs = append(errs, field.Invalid(at, c.MinDomains, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", v1.DoNotSchedule, c.WhenUnsatisfiable)))
	}
	return errs
}

func checkInclusion(policy *v1.NodeInclusionPolicy, at *field.Path) field.ErrorList {
	if policy == nil {
		return nil
	}
	return meta.Supported(at, *policy, v1.NodeInclusionPolicyHonor, v1.NodeInclusionPolicyIgnore)
}

// checkSpreadLabelKeys: since v1.34 the keys are merged into the selector at
// creation, so a pod that is older is held to the rule of its time.
func checkSpreadLabelKeys(c *v1.TopologySpreadConstraint, at *field.Path, opts Options) field.ErrorList {
	if opts.UseLegacyMatchLabelKeys {
		return checkLegacyMatchLabelKeys(c, at.Child("matchLabelKeys"))
	}
	return checkMatchLabelKeys(c.MatchLabelKeys, nil, c.LabelSelector, at)
}

func checkLegacyMatchLabelKeys(c *v1.TopologySpreadConstraint, at *field.Path) field.ErrorList {
	if len(c.MatchLabelKeys) == 0 {
		return nil
	}
	var errs field.ErrorList
	if c.LabelSelector == nil {
		errs = append(errs, field.Forbidden(at, "must not be specified when labelSelector is not set"))
	}
	selected := selectorKeys(c.LabelSelector)
	for i, key := range c.MatchLabelKeys {
		errs = append(errs, metavalidation.ValidateLabelName(key, at.Index(i))...)
		if selected.Has(key) {
			errs = append(errs, field.Invalid(at.Index(i), key, "exists in both matchLabelKeys and labelSelector"))
		}
	}
	return errs
}

func selectorKeys(selector *metav1.LabelSelector) sets.Set[string] {
	keys := sets.Set[string]{}
	if selector != nil {
		for key := range selector.MatchLabels {
			keys.Insert(key)
		}
		for _, e := range selector.MatchExpressions {
			keys.Insert(e.Key)
		}
	}
	return keys
}

// checkMatchLabelKeys checks keys whose value the pod's own labels give. They
// have been merged into the selector before (MergeLabelKeys), so a key found in
// it twice was there already.
func checkMatchLabelKeys(match, mismatch []string, selector *metav1.LabelSelector, at *field.Path) field.ErrorList {
	errs := meta.Join(
		checkLabelKeys(match, selector, at.Child("matchLabelKeys")),
		checkLabelKeys(mismatch, selector, at.Child("mismatchLabelKeys")),
	)
	if selector != nil {
		seen := sets.Set[string]{}
		for key := range selector.MatchLabels {
			seen.Insert(key)
		}
		for _, e := range selector.MatchExpressions {
			if i := slices.Index(match, e.Key); i >= 0 && seen.Has(e.Key) {
				errs = append(errs, field.Invalid(at.Index(i), e.Key, "exists in both matchLabelKeys and labelSelector"))
			}
			seen.Insert(e.Key)
		}
	}
	for i, key := range match {
		if slices.Contains(mismatch, key) {
			errs = append(errs, field.Invalid(at.Child("matchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	return errs
}

func checkLabelKeys(keys []string, selector *metav1.LabelSelector, at *field.Path) field.ErrorList {
	if len(keys) == 0 {
		return nil
	}
	if selector == nil {
		return field.ErrorList{field.Forbidden(at, "must not be specified when labelSelector is not set")}
	}
	var errs field.ErrorList
	for i, key := range keys {
		errs = append(errs, metavalidation.ValidateLabelName(key, at.Index(i))...)
	}
	return errs
}
