package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkName: names of roles may hold anything that a URL can ("system:node").
func checkName(name string, _ bool) []string { return content.IsPathSegmentName(name) }

func checkRules(rules []rbacv1.PolicyRule, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i, rule := range rules {
		path := field.NewPath("rules").Index(i)
		if len(rule.Verbs) == 0 {
			errs = append(errs, field.Required(path.Child("verbs"), ""))
		}
		if len(rule.NonResourceURLs) > 0 {
			path = path.Child("nonResourceURLs")
			if namespaced {
				errs = append(errs, field.Invalid(path, rule.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
			}
			if len(rule.APIGroups)+len(rule.Resources)+len(rule.ResourceNames) > 0 {
				errs = append(errs, field.Invalid(path, rule.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
			}
			continue
		}
		if len(rule.APIGroups) == 0 {
			errs = append(errs, field.Required(path.Child("apiGroups"), "resource rules must supply at least one api group"))
		}
		if len(rule.Resources) == 0 {
			errs = append(errs, field.Required(path.Child("resources"), "resource rules must supply at least one resource"))
		}
	}
	return errs
}

// defaultBinding fills in the groups of what can only be of this one.
func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	if ref.APIGroup == "" {
		ref.APIGroup = rbacv1.GroupName
	}
	for i := range subjects {
		if s := &subjects[i]; s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

func checkRoleRef(ref rbacv1.RoleRef, kinds ...string) field.ErrorList {
	path := field.NewPath("roleRef")
	errs := supported(path.Child("apiGroup"), ref.APIGroup, rbacv1.GroupName)
	errs = append(errs, supported(path.Child("kind"), ref.Kind, kinds...)...)
	if ref.Name == "" {
		return append(errs, field.Required(path.Child("name"), ""))
	}
	return append(errs, meta.Invalid(path.Child("name"), ref.Name, content.IsPathSegmentName(ref.Name))...)
}

// checkSameRole: who was trusted with one role was not trusted with another.
func checkSameRole(ref, old rbacv1.RoleRef) field.ErrorList {
	if ref == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), ref, meta.Immutable)}
}

func checkSubjects(subjects []rbacv1.Subject, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i, s := range subjects {
		path := field.NewPath("subjects").Index(i)
		errs = append(errs, meta.Required(path.Child("name"), s.Name)...)
		switch s.Kind {
		case rbacv1.UserKind, rbacv1.GroupKind:
			errs = append(errs, supported(path.Child("apiGroup"), s.APIGroup, rbacv1.GroupName)...)
		case rbacv1.ServiceAccountKind:
			if s.Name != "" {
				errs = append(errs, meta.Invalid(path.Child("name"), s.Name, apivalidation.ValidateServiceAccountName(s.Name, false))...)
			}
			errs = append(errs, supported(path.Child("apiGroup"), s.APIGroup, "")...)
			if !namespaced {
				errs = append(errs, meta.Required(path.Child("namespace"), s.Namespace)...)
			}
		default:
			errs = append(errs, supported(path.Child("kind"), s.Kind, rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind)...)
		}
	}
	return errs
}

// supported names the choice in the order given.
func supported(path *field.Path, value string, allowed ...string) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

func bindingColumns(kind, roleRef string) []metav1.TableColumnDefinition {
	return meta.Table(
		meta.Name(),
		meta.String("Role", roleRef),
		meta.Created(),
		meta.Wide(meta.String("Users", "Users in the "+kind)),
		meta.Wide(meta.String("Groups", "Groups in the "+kind)),
		meta.Wide(meta.String("ServiceAccounts", "ServiceAccounts in the "+kind)),
	)
}

func bindingRow(m metav1.ObjectMeta, ref rbacv1.RoleRef, subjects []rbacv1.Subject, now metav1.Time) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	list := func(names []string) string { return strings.Join(names, ", ") }
	return []any{m.Name, ref.Kind + "/" + ref.Name, meta.Age(m.CreationTimestamp, now), list(users), list(groups), list(accounts)}
}
