package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ClusterRole allows verbs on resources and URLs everywhere, or wherever it is bound.
func clusterRoles() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "clusterroles",
		Singular:     "clusterrole",
		Kind:         "ClusterRole",
		New:          func() runtime.Object { return &rbacv1.ClusterRole{} },
		NewList:      func() runtime.Object { return &rbacv1.ClusterRoleList{} },
		Check:        meta.Check(func(r *rbacv1.ClusterRole) field.ErrorList { return checkClusterRole(r, nil) }),
		CheckName:    checkName,
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(checkClusterRole),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: meta.PlainColumns(),
		Row:     meta.Row(func(r *rbacv1.ClusterRole, _ metav1.Time) []any { return meta.PlainRow(r) }),
	}
}

// checkClusterRole: old is nil at creation.
func checkClusterRole(r, old *rbacv1.ClusterRole) field.ErrorList {
	errs := checkRules(r.Rules, false)
	if r.AggregationRule == nil {
		return errs
	}
	path := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
		errs = append(errs, field.Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
	}
	stored := lenientSelector(old)
	for i := range r.AggregationRule.ClusterRoleSelectors {
		selector := &r.AggregationRule.ClusterRoleSelectors[i]
		errs = append(errs, meta.SelectorUpdate(path.Index(i), selector, stored)...)
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			errs = append(errs, field.Invalid(path.Index(i), selector, "invalid label selector."))
		}
	}
	return errs
}

// lenientSelector finds a stored selector that today's rules would refuse.
func lenientSelector(old *rbacv1.ClusterRole) *metav1.LabelSelector {
	if old == nil || old.AggregationRule == nil {
		return nil
	}
	for i := range old.AggregationRule.ClusterRoleSelectors {
		if selector := &old.AggregationRule.ClusterRoleSelectors[i]; len(meta.Selector(nil, selector)) > 0 {
			return selector
		}
	}
	return nil
}
