package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/webhook"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// The two kinds of webhooks differ in one field: whether to ask once more after
// others changed the object. They are checked as mutating ones.

func asMutating(hooks []admissionv1.ValidatingWebhook) []admissionv1.MutatingWebhook {
	all := make([]admissionv1.MutatingWebhook, len(hooks))
	for i, h := range hooks {
		all[i] = admissionv1.MutatingWebhook{
			Name: h.Name, ClientConfig: h.ClientConfig, Rules: h.Rules, FailurePolicy: h.FailurePolicy, MatchPolicy: h.MatchPolicy,
			NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, SideEffects: h.SideEffects, TimeoutSeconds: h.TimeoutSeconds,
			AdmissionReviewVersions: h.AdmissionReviewVersions, MatchConditions: h.MatchConditions,
		}
	}
	return all
}

const (
	defaultTimeout = 10 // seconds
	longestTimeout = 30
)

// defaultHook fills in what both kinds have.
func defaultHook(failure **admissionv1.FailurePolicyType, match **admissionv1.MatchPolicyType, namespaces, objects **metav1.LabelSelector,
	timeout **int32, client *admissionv1.WebhookClientConfig, rules []admissionv1.RuleWithOperations) {
	meta.SetDefault(failure, admissionv1.Fail)
	meta.SetDefault(match, admissionv1.Equivalent)
	meta.SetDefault(namespaces, metav1.LabelSelector{})
	meta.SetDefault(objects, metav1.LabelSelector{})
	meta.SetDefault(timeout, defaultTimeout)
	if client.Service != nil {
		meta.SetDefault(&client.Service.Port, 443)
	}
	defaultRules(rules)
}

// Side effects, in general and where a dry run has none.
var sideEffects, noSideEffects = []admissionv1.SideEffectClass{
	admissionv1.SideEffectClassUnknown, admissionv1.SideEffectClassNone, admissionv1.SideEffectClassSome, admissionv1.SideEffectClassNoneOnDryRun,
}, []admissionv1.SideEffectClass{admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun}

var reviewVersions = []string{"v1", "v1beta1"}

// leniency excuses what is stored and older than a rule.
type leniency struct {
	sideEffects, versions, names, conditions bool
	selector                                 *metav1.LabelSelector // any with a wrong value
	stored                                   sets.Set[string]      // expressions
}

func lenient(hooks, old []admissionv1.MutatingWebhook) leniency {
	l := leniency{stored: sets.New[string]()}
	if old == nil {
		return l
	}
	names := sets.New[string]()
	l.conditions = len(hooks) == len(old)
	for i, h := range old {
		l.sideEffects = l.sideEffects || !slices.Contains(noSideEffects, meta.Deref(h.SideEffects, ""))
		l.versions = l.versions || len(h.AdmissionReviewVersions) > 0 && !knowsReview(h.AdmissionReviewVersions)
		l.names = l.names || names.Has(h.Name)
		names.Insert(h.Name)
		l.conditions = l.conditions && equality.Semantic.DeepEqual(hooks[i].MatchConditions, h.MatchConditions)
		for _, condition := range h.MatchConditions {
			l.stored.Insert(strings.TrimSpace(condition.Expression))
		}
		for _, selector := range []*metav1.LabelSelector{h.NamespaceSelector, h.ObjectSelector} {
			if selector != nil && len(meta.Selector(nil, selector)) > 0 {
				l.selector = selector
			}
		}
	}
	return l
}

func knowsReview(versions []string) bool {
	return slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(reviewVersions, v) })
}

// checkHooks: old is nil at creation.
func checkHooks(hooks, old []admissionv1.MutatingWebhook) field.ErrorList {
	l := lenient(hooks, old)
	names := sets.New[string]()
	var errs field.ErrorList
	for i := range hooks {
		h, path := &hooks[i], field.NewPath("webhooks").Index(i)
		errs = append(errs, checkHook(path, h, l)...)
		errs = append(errs, checkReviewVersions(path.Child("admissionReviewVersions"), h.AdmissionReviewVersions, l)...)
		if h.Name != "" && names.Has(h.Name) && !l.names {
			errs = append(errs, field.Duplicate(path.Child("name"), h.Name))
		}
		names.Insert(h.Name)
	}
	return errs
}

func checkHook(path *field.Path, h *admissionv1.MutatingWebhook, l leniency) field.ErrorList {
	errs := validation.IsFullyQualifiedName(path.Child("name"), h.Name)
	for i := range h.Rules {
		errs = append(errs, checkRule(path.Child("rules").Index(i), &h.Rules[i])...)
	}
	if h.FailurePolicy != nil {
		errs = append(errs, meta.Supported(path.Child("failurePolicy"), *h.FailurePolicy, admissionv1.Ignore, admissionv1.Fail)...)
	}
	if h.MatchPolicy != nil {
		errs = append(errs, meta.Supported(path.Child("matchPolicy"), *h.MatchPolicy, admissionv1.Exact, admissionv1.Equivalent)...)
	}
	errs = append(errs, checkSideEffects(path.Child("sideEffects"), h.SideEffects, l)...)
	if seconds := h.TimeoutSeconds; seconds != nil && (*seconds < 1 || *seconds > longestTimeout) {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), *seconds, "the timeout value must be between 1 and 30 seconds"))
	}
	if h.NamespaceSelector != nil {
		errs = append(errs, meta.SelectorUpdate(path.Child("namespaceSelector"), h.NamespaceSelector, l.selector)...)
	}
	if h.ObjectSelector != nil {
		errs = append(errs, meta.SelectorUpdate(path.Child("objectSelector"), h.ObjectSelector, l.selector)...)
	}
	if h.ReinvocationPolicy != nil {
		errs = append(errs, meta.Supported(path.Child("reinvocationPolicy"), *h.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy, admissionv1.IfNeededReinvocationPolicy)...)
	}
	errs = append(errs, checkClient(path.Child("clientConfig"), &h.ClientConfig)...)
	if !l.conditions {
		errs = append(errs, checkConditions(path.Child("matchConditions"), h.MatchConditions, false, l.stored)...)
	}
	return errs
}

func checkSideEffects(path *field.Path, class *admissionv1.SideEffectClass, l leniency) field.ErrorList {
	allowed := noSideEffects
	if l.sideEffects {
		allowed = sideEffects
	}
	if class != nil {
		return meta.Supported(path, *class, allowed...)
	}
	names := make([]string, len(allowed))
	for i, class := range allowed {
		names[i] = string(class)
	}
	slices.Sort(names)
	return field.ErrorList{field.Required(path, fmt.Sprintf("must specify one of %v", strings.Join(names, ", ")))}
}

func checkClient(path *field.Path, c *admissionv1.WebhookClientConfig) field.ErrorList {
	switch s := c.Service; {
	case (c.URL == nil) == (s == nil):
		return field.ErrorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return webhook.ValidateWebhookURL(path.Child("url"), *c.URL, true)
	default:
		return webhook.ValidateWebhookService(path.Child("service"), s.Name, s.Namespace, s.Path, meta.Deref(s.Port, 443))
	}
}

func checkReviewVersions(path *field.Path, versions []string, l leniency) field.ErrorList {
	known := strings.Join(reviewVersions, ", ")
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "must specify one of "+known)}
	}
	var errs field.ErrorList
	for i, version := range versions {
		if slices.Contains(versions[:i], version) {
			errs = append(errs, field.Invalid(path.Index(i), version, "duplicate version"))
			continue
		}
		errs = append(errs, meta.Invalid(path.Index(i), version, validation.IsDNS1035Label(version))...)
	}
	if !l.versions && !knowsReview(versions) {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of "+known))
	}
	return errs
}

func hookColumns() []metav1.TableColumnDefinition {
	return meta.Table(meta.Name(), meta.Integer("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"), meta.Created())
}
