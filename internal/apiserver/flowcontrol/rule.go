package flowcontrol

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const all = "*"

var knownVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func checkRule(path *field.Path, rule *flowcontrolv1.PolicyRulesWithSubjects) field.ErrorList {
	var errs field.ErrorList
	if len(rule.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range rule.Subjects {
		errs = append(errs, checkSubject(path.Child("subjects").Index(i), &rule.Subjects[i])...)
	}
	if len(rule.ResourceRules) == 0 && len(rule.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range rule.ResourceRules {
		errs = append(errs, checkResourceRule(path.Child("resourceRules").Index(i), &rule.ResourceRules[i])...)
	}
	for i := range rule.NonResourceRules {
		errs = append(errs, checkURLRule(path.Child("nonResourceRules").Index(i), &rule.NonResourceRules[i])...)
	}
	return errs
}

func checkSubject(path *field.Path, subject *flowcontrolv1.Subject) field.ErrorList {
	kinds := []struct {
		kind  flowcontrolv1.SubjectKind
		field string
		set   bool
	}{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", subject.ServiceAccount != nil},
		{flowcontrolv1.SubjectKindUser, "user", subject.User != nil},
		{flowcontrolv1.SubjectKindGroup, "group", subject.Group != nil},
	}
	if errs := meta.Supported(path.Child("kind"), subject.Kind,
		flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser); errs != nil {
		return errs
	}
	var errs field.ErrorList
	for _, k := range kinds {
		child := path.Child(k.field)
		switch {
		case k.kind != subject.Kind && k.set:
			errs = append(errs, field.Forbidden(child, k.field+" is forbidden when subject kind is not '"+string(k.kind)+"'"))
		case k.kind == subject.Kind && !k.set:
			errs = append(errs, field.Required(child, k.field+" is required when subject kind is '"+string(k.kind)+"'"))
		}
	}
	switch {
	case subject.Kind == flowcontrolv1.SubjectKindServiceAccount && subject.ServiceAccount != nil:
		errs = append(errs, checkServiceAccount(path.Child("serviceAccount"), subject.ServiceAccount)...)
	case subject.Kind == flowcontrolv1.SubjectKindUser && subject.User != nil:
		errs = append(errs, meta.Required(path.Child("user", "name"), subject.User.Name)...)
	case subject.Kind == flowcontrolv1.SubjectKindGroup && subject.Group != nil:
		errs = append(errs, meta.Required(path.Child("group", "name"), subject.Group.Name)...)
	}
	return errs
}

func checkServiceAccount(path *field.Path, account *flowcontrolv1.ServiceAccountSubject) field.ErrorList {
	var errs field.ErrorList
	switch account.Name {
	case "":
		errs = append(errs, field.Required(path.Child("name"), ""))
	case all:
	default:
		errs = append(errs, meta.Invalid(path.Child("name"), account.Name, apivalidation.ValidateServiceAccountName(account.Name, false))...)
	}
	if account.Namespace == "" {
		return append(errs, field.Required(path.Child("namespace"), "must specify namespace for service account"))
	}
	return append(errs, meta.Invalid(path.Child("namespace"), account.Namespace, apivalidation.ValidateNamespaceName(account.Namespace, false))...)
}

func checkResourceRule(path *field.Path, rule *flowcontrolv1.ResourcePolicyRule) field.ErrorList {
	errs := checkVerbs(path.Child("verbs"), rule.Verbs)
	errs = append(errs, checkAlternatives(path.Child("apiGroups"), rule.APIGroups, "resource rules must supply at least one api group", "api groups")...)
	errs = append(errs, checkAlternatives(path.Child("resources"), rule.Resources, "resource rules must supply at least one resource", "resources")...)
	path = path.Child("namespaces")
	if len(rule.Namespaces) == 0 && rule.ClusterScope {
		return errs
	}
	errs = append(errs, checkAlternatives(path, rule.Namespaces, "resource rules that are not cluster scoped must supply at least one namespace", "namespaces")...)
	if slices.Contains(rule.Namespaces, all) {
		return errs
	}
	for i, namespace := range rule.Namespaces {
		for _, message := range apivalidation.ValidateNamespaceName(namespace, false) {
			errs = append(errs, field.Invalid(path.Index(i), namespace, "each member of this list must be '*' or a DNS-1123 label; "+message))
		}
	}
	return errs
}

func checkURLRule(path *field.Path, rule *flowcontrolv1.NonResourcePolicyRule) field.ErrorList {
	errs := checkVerbs(path.Child("verbs"), rule.Verbs)
	path = path.Child("nonResourceURLs")
	errs = append(errs, checkAlternatives(path, rule.NonResourceURLs, "nonResourceURLs must contain at least one value", "non-resource URLs")...)
	if slices.Contains(rule.NonResourceURLs, all) {
		return errs
	}
	for i, url := range rule.NonResourceURLs {
		if message := urlFault(url); message != "" {
			errs = append(errs, field.Invalid(path.Index(i), url, message))
		}
	}
	return errs
}

// checkAlternatives wants at least one value, and "*" only alone.
func checkAlternatives(path *field.Path, values []string, none, others string) field.ErrorList {
	switch {
	case len(values) == 0:
		return field.ErrorList{field.Required(path, none)}
	case len(values) > 1 && slices.Contains(values, all):
		return field.ErrorList{field.Invalid(path, values, "if '*' is present, must not specify other "+others)}
	}
	return nil
}

func checkVerbs(path *field.Path, verbs []string) field.ErrorList {
	errs := checkAlternatives(path, verbs, "verbs must contain at least one value", "verbs")
	if !slices.Contains(verbs, all) && !sets.New(knownVerbs...).HasAll(verbs...) {
		errs = append(errs, field.NotSupported(path, verbs, knownVerbs))
	}
	return errs
}

func urlFault(url string) string {
	stars := strings.Count(url, all)
	switch {
	case url == "":
		return "must not be empty"
	case url == "/":
		return ""
	case !strings.HasPrefix(url, "/"):
		return "must start with slash"
	case strings.Contains(url, " "):
		return "must not contain white-space"
	case strings.Contains(url, "//"):
		return "must not contain double slash"
	case stars > 1 || stars == 1 && !strings.HasSuffix(url, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}

// checkConditionTypes wants each condition of a status to have a type of its own.
func checkConditionTypes(types []string) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, name := range types {
		path := field.NewPath("status", "conditions").Index(i).Child("type")
		if seen.Has(name) {
			errs = append(errs, field.Duplicate(path, name))
		}
		seen.Insert(name)
		errs = append(errs, meta.Required(path, name)...)
	}
	return errs
}
