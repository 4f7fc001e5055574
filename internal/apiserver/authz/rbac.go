package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
)

// RBAC decides by the API's role and binding objects, as informers have them.
type RBAC struct {
	Roles               rbaclisters.RoleLister
	RoleBindings        rbaclisters.RoleBindingLister
	ClusterRoles        rbaclisters.ClusterRoleLister
	ClusterRoleBindings rbaclisters.ClusterRoleBindingLister
}

var (
	_ authorizer.Authorizer   = (*RBAC)(nil)
	_ authorizer.RuleResolver = (*RBAC)(nil)
)

func (r *RBAC) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	reason := ""
	err := r.visit(a.GetUser(), a.GetNamespace(), func(source func() string, rule *rbacv1.PolicyRule) bool {
		if !Allows(rule, a) {
			return true
		}
		reason = "RBAC: allowed by " + source()
		return false
	})
	switch {
	case reason != "":
		return authorizer.DecisionAllow, reason, nil
	case err != nil:
		return authorizer.DecisionNoOpinion, fmt.Sprintf("RBAC: %v", err), nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func (r *RBAC) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(r.Authorize(ctx, a))
}

func (*RBAC) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// Rules lists all that u may do in a namespace ("": cluster-wide only).
func (r *RBAC) Rules(u user.Info, namespace string) (rules []rbacv1.PolicyRule, err error) {
	err = r.visit(u, namespace, func(_ func() string, rule *rbacv1.PolicyRule) bool {
		rules = append(rules, *rule)
		return true
	})
	return rules, err
}

func (r *RBAC) RulesFor(_ context.Context, u user.Info, namespace string) (resources []authorizer.ResourceRuleInfo, urls []authorizer.NonResourceRuleInfo, incomplete bool, err error) {
	rules, err := r.Rules(u, namespace)
	for _, rule := range rules {
		if len(rule.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{
				Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames})
		}
		if len(rule.NonResourceURLs) > 0 {
			urls = append(urls, &authorizer.DefaultNonResourceRuleInfo{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
		}
	}
	return resources, urls, false, err
}

// visit hands f every rule that applies to u until it returns false. A role
// that is missing is reported; rules only add, so the others still count.
func (r *RBAC) visit(u user.Info, namespace string, f func(source func() string, rule *rbacv1.PolicyRule) bool) error {
	var errs []error
	bindings, err := r.ClusterRoleBindings.List(labels.Everything())
	if err != nil {
		errs = append(errs, err)
	}
	for _, b := range bindings {
		i := slices.IndexFunc(b.Subjects, func(s rbacv1.Subject) bool { return isSubject(u, s, "") })
		if i < 0 {
			continue
		}
		rules, err := r.rulesOf(b.RoleRef, "")
		if err != nil {
			errs = append(errs, err)
		}
		source := func() string {
			return fmt.Sprintf("ClusterRoleBinding %q of %s %q to %s", b.Name, b.RoleRef.Kind, b.RoleRef.Name, describe(b.Subjects[i], ""))
		}
		for j := range rules {
			if !f(source, &rules[j]) {
				return nil
			}
		}
	}
	if namespace == "" {
		return errors.Join(errs...)
	}
	local, err := r.RoleBindings.RoleBindings(namespace).List(labels.Everything())
	if err != nil {
		errs = append(errs, err)
	}
	for _, b := range local {
		i := slices.IndexFunc(b.Subjects, func(s rbacv1.Subject) bool { return isSubject(u, s, namespace) })
		if i < 0 {
			continue
		}
		rules, err := r.rulesOf(b.RoleRef, namespace)
		if err != nil {
			errs = append(errs, err)
		}
		source := func() string {
			return fmt.Sprintf("RoleBinding %q of %s %q to %s", b.Name+"/"+b.Namespace, b.RoleRef.Kind, b.RoleRef.Name, describe(b.Subjects[i], b.Namespace))
		}
		for j := range rules {
			if !f(source, &rules[j]) {
				return nil
			}
		}
	}
	return errors.Join(errs...)
}

func (r *RBAC) rulesOf(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		role, err := r.Roles.Roles(namespace).Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	case "ClusterRole":
		role, err := r.ClusterRoles.Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// RulesOf are the rules of a role that a binding in a namespace refers to.
func (r *RBAC) RulesOf(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	return r.rulesOf(ref, namespace)
}

func isSubject(u user.Info, s rbacv1.Subject, namespace string) bool {
	switch s.Kind {
	case rbacv1.UserKind:
		return u.GetName() == s.Name
	case rbacv1.GroupKind:
		return slices.Contains(u.GetGroups(), s.Name)
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return namespace != "" && serviceaccount.MatchesUsername(namespace, s.Name, u.GetName())
	}
	return false
}

func describe(s rbacv1.Subject, namespace string) string {
	if s.Kind == rbacv1.ServiceAccountKind {
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return fmt.Sprintf("%s %q", s.Kind, s.Name+"/"+namespace)
	}
	return fmt.Sprintf("%s %q", s.Kind, s.Name)
}

// Allows tells whether one rule allows a request.
func Allows(rule *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !has(rule.Verbs, rbacv1.VerbAll, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool { return matchesURL(url, a.GetPath()) })
	}
	return has(rule.APIGroups, rbacv1.APIGroupAll, a.GetAPIGroup()) &&
		slices.ContainsFunc(rule.Resources, func(r string) bool { return matchesResource(r, a.GetResource(), a.GetSubresource()) }) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.GetName()))
}

func has(set []string, all, one string) bool {
	return slices.ContainsFunc(set, func(s string) bool { return s == all || s == one })
}

func matchesURL(rule, path string) bool {
	if prefix, ok := strings.CutSuffix(rule, "*"); ok {
		return strings.HasPrefix(path, strings.TrimRight(prefix, "*"))
	}
	return rule == path
}

// matchesResource: "*" is everything, "*/status" that subresource of everything.
func matchesResource(rule, resource, sub string) bool {
	switch {
	case rule == rbacv1.ResourceAll:
		return true
	case sub == "":
		return rule == resource
	}
	r, s, ok := strings.Cut(rule, "/")
	return ok && s == sub && (r == resource || r == "*")
}
