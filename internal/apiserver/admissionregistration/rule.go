package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

var operations = []admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect}

func defaultRules(rules []admissionv1.RuleWithOperations) {
	for i := range rules {
		meta.SetDefault(&rules[i].Scope, admissionv1.AllScopes)
	}
}

// checkRule checks which requests something is asked about.
func checkRule(path *field.Path, r *admissionv1.RuleWithOperations) field.ErrorList {
	var errs field.ErrorList
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(path.Child("operations"), ""))
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionv1.OperationAll) {
		errs = append(errs, field.Invalid(path.Child("operations"), r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i, operation := range r.Operations {
		errs = append(errs, meta.Supported(path.Child("operations").Index(i), operation, operations...)...)
	}
	errs = append(errs, checkAllOrSome(path.Child("apiGroups"), r.APIGroups, "API groups")...)
	errs = append(errs, checkAllOrSome(path.Child("apiVersions"), r.APIVersions, "API versions")...)
	for i, version := range r.APIVersions {
		errs = append(errs, meta.Required(path.Child("apiVersions").Index(i), version)...)
	}
	errs = append(errs, checkResources(path.Child("resources"), r.Resources)...)
	if r.Scope != nil {
		errs = append(errs, meta.Supported(path.Child("scope"), *r.Scope, admissionv1.ClusterScope, admissionv1.NamespacedScope, admissionv1.AllScopes)...)
	}
	return errs
}

func checkAllOrSome(path *field.Path, list []string, what string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(path, list, fmt.Sprintf("if '*' is present, must not specify other %s", what))}
	}
	return nil
}

// checkResources checks "pods", "pods/status", "pods/*", "*/status", "*" and "*/*"
// for one that another already covers.
func checkResources(path *field.Path, resources []string) field.ErrorList {
	var errs field.ErrorList
	if len(resources) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	wholeOf, subOfAll := sets.New[string](), sets.New[string]()
	plain := false
	for i, name := range resources {
		at := path.Index(i)
		if name == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		resource, sub, nested := strings.Cut(name, "/")
		if !nested {
			plain = name != "*"
			continue
		}
		if wholeOf.Has(resource) {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, name)))
		}
		if subOfAll.Has(sub) {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, name)))
		}
		if sub == "*" {
			wholeOf.Insert(resource)
		}
		if resource == "*" {
			subOfAll.Insert(sub)
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(path, resources, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(resources, "*") {
		errs = append(errs, field.Invalid(path, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	meta.SetDefault(&m.MatchPolicy, admissionv1.Equivalent)
	meta.SetDefault(&m.NamespaceSelector, metav1.LabelSelector{})
	meta.SetDefault(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			meta.SetDefault(&rules[i].Scope, admissionv1.AllScopes)
		}
	}
}

func checkMatch(path *field.Path, m *admissionv1.MatchResources) field.ErrorList {
	if m == nil {
		return nil
	}
	errs := meta.Supported(path.Child("matchPolicy"), meta.Deref(m.MatchPolicy, ""), admissionv1.Exact, admissionv1.Equivalent)
	for _, of := range []struct {
		name     string
		selector *metav1.LabelSelector
	}{{"namespaceSelector", m.NamespaceSelector}, {"objectSelector", m.ObjectSelector}} {
		if of.selector == nil {
			errs = append(errs, field.Required(path.Child(of.name), ""))
			continue
		}
		errs = append(errs, meta.Selector(path.Child(of.name), of.selector)...)
	}
	errs = append(errs, checkNamedRules(path.Child("resourceRules"), m.ResourceRules)...)
	return append(errs, checkNamedRules(path.Child("excludeResourceRules"), m.ExcludeResourceRules)...)
}

func checkNamedRules(path *field.Path, rules []admissionv1.NamedRuleWithOperations) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		r, at := &rules[i], path.Index(i)
		for j, name := range r.ResourceNames {
			if name != "" {
				errs = append(errs, meta.PathSegment(at.Child("resourceNames").Index(j), name, "")...)
			}
			if slices.Contains(r.ResourceNames[:j], name) {
				errs = append(errs, field.Duplicate(at.Child("resourceNames").Index(j), name))
			}
		}
		errs = append(errs, checkRule(at, &r.RuleWithOperations)...)
	}
	return errs
}

// checkNoDelete: what is deleted can't be changed first.
func checkNoDelete(path *field.Path, m *admissionv1.MatchResources) field.ErrorList {
	if m == nil {
		return nil
	}
	mutable := []admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Create, admissionv1.Update, admissionv1.Connect}
	var errs field.ErrorList
	for _, rule := range m.ResourceRules {
		for _, operation := range rule.Operations {
			errs = append(errs, meta.Supported(path.Child("resourceRules", "operations"), operation, mutable...)...)
		}
	}
	return errs
}
