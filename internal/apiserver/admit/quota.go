package admit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	library "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"

	"github.com/proa-project/proa/internal/kit/quota"
)

// So many objects are held against quotas at a time.
const quotaWorkers = 5

// Quotas refuses what would be more than a namespace's ResourceQuotas allow. It
// is the library's plugin, with what our objects count for; its dependencies are
// the caller's to set.
func Quotas(now func() time.Time) (*resourcequota.QuotaAdmission, library.Configuration, error) {
	plugin, err := resourcequota.NewResourceQuota(nil, quotaWorkers)
	if err != nil {
		return nil, nil, err
	}
	return plugin, generic.NewConfiguration(evaluators(now), unlimited), nil
}

// Kinds that no quota limits: those that are not stored, and events, which tell
// of trouble.
var unlimited = map[schema.GroupResource]struct{}{
	{Resource: "events"}:                                                   {},
	{Group: "events.k8s.io", Resource: "events"}:                           {},
	{Resource: "bindings"}:                                                 {},
	{Resource: "componentstatuses"}:                                        {},
	{Group: "authentication.k8s.io", Resource: "tokenreviews"}:             {},
	{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"}:       {},
	{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}:      {},
	{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"}:  {},
	{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}: {},
	{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"}:   {},
}

func evaluators(now func() time.Time) []library.Evaluator {
	all := []library.Evaluator{
		counted[*corev1.Pod]{
			resource: pods, handles: podCounts, counts: quota.PodResource, inScope: quota.PodInScope, complete: completePod,
			usage: func(p *corev1.Pod) corev1.ResourceList { return quota.Pod(p, now()) },
		},
		counted[*corev1.PersistentVolumeClaim]{
			resource: claims, handles: claimCounts, counts: quota.ClaimResource, inScope: quota.ClaimInScope, usage: quota.Claim,
		},
		counted[*corev1.Service]{
			resource: schema.GroupResource{Resource: "services"}, handles: written, counts: quota.ServiceResource, usage: quota.Service,
		},
	}
	for _, name := range []string{"configmaps", "resourcequotas", "replicationcontrollers", "secrets"} {
		all = append(all, generic.NewObjectCountEvaluator(schema.GroupResource{Resource: name}, nil, corev1.ResourceName(name)))
	}
	return all
}

func written(a admission.Attributes) bool { return a.GetSubresource() == "" }

// podCounts: of the updates of a pod, those that move it to another scope or
// change what it asks for.
func podCounts(a admission.Attributes) bool {
	switch a.GetSubresource() {
	case "":
		pod, isPod := a.GetObject().(*corev1.Pod)
		old, hasOld := a.GetOldObject().(*corev1.Pod)
		return a.GetOperation() == admission.Create ||
			isPod && hasOld && (pod.Spec.ActiveDeadlineSeconds == nil) != (old.Spec.ActiveDeadlineSeconds == nil)
	case "resize":
		return a.GetOperation() == admission.Update
	}
	return false
}

func claimCounts(a admission.Attributes) bool {
	return a.GetSubresource() == "" || a.GetSubresource() == "status"
}

// completePod: under a quota of CPU or memory every container must say what it takes.
func completePod(pod *corev1.Pod, limited []corev1.ResourceName) error {
	missing := quota.MissingFromPod(pod, limited)
	if len(missing) == 0 {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		lines = append(lines, fmt.Sprintf("%s for: %s", name, strings.Join(sets.List(sets.New(missing[name]...)), ",")))
	}
	return fmt.Errorf("must specify %s", strings.Join(lines, "; "))
}

// counted tells the library what objects of one kind count for.
type counted[T runtime.Object] struct {
	resource schema.GroupResource
	usage    func(T) corev1.ResourceList
	handles  func(admission.Attributes) bool
	counts   func(corev1.ResourceName) bool                         // the kind counts for this resource
	inScope  func(T, corev1.ScopedResourceSelectorRequirement) bool // nil: in none
	complete func(object T, limited []corev1.ResourceName) error    // nil: always
}

var _ library.Evaluator = counted[*corev1.Pod]{}

func (c counted[T]) GroupResource() schema.GroupResource { return c.resource }

func (c counted[T]) Handles(a admission.Attributes) bool { return c.handles(a) }

func (c counted[T]) Constraints(required []corev1.ResourceName, item runtime.Object) error {
	object, err := c.object(item)
	if err != nil || c.complete == nil {
		return err
	}
	return c.complete(object, required)
}

func (c counted[T]) Matches(q *corev1.ResourceQuota, item runtime.Object) (bool, error) {
	object, err := c.object(item)
	if err != nil || len(c.MatchingResources(library.ResourceNames(q.Status.Hard))) == 0 {
		return false, err
	}
	for _, r := range quota.Scopes(q) {
		if c.inScope == nil || !c.inScope(object, r) {
			return false, nil
		}
	}
	return true, nil
}

func (c counted[T]) MatchingScopes(item runtime.Object, scopes []corev1.ScopedResourceSelectorRequirement) (in []corev1.ScopedResourceSelectorRequirement, err error) {
	object, err := c.object(item)
	if err != nil {
		return nil, err
	}
	for _, r := range scopes {
		if c.inScope != nil && c.inScope(object, r) {
			in = append(in, r)
		}
	}
	return in, nil
}

func (c counted[T]) UncoveredQuotaScopes(limited, matched []corev1.ScopedResourceSelectorRequirement) (uncovered []corev1.ScopedResourceSelectorRequirement, err error) {
	for _, l := range limited {
		if !slices.ContainsFunc(matched, func(m corev1.ScopedResourceSelectorRequirement) bool { return m.ScopeName == l.ScopeName }) {
			uncovered = append(uncovered, l)
		}
	}
	return uncovered, nil
}

func (c counted[T]) MatchingResources(names []corev1.ResourceName) (matching []corev1.ResourceName) {
	for _, name := range names {
		if c.counts(name) {
			matching = append(matching, name)
		}
	}
	return matching
}

func (c counted[T]) Usage(item runtime.Object) (corev1.ResourceList, error) {
	object, err := c.object(item)
	if err != nil {
		return nil, err
	}
	return c.usage(object), nil
}

// UsageStats is for controllers; ours sums up by itself.
func (c counted[T]) UsageStats(library.UsageStatsOptions) (library.UsageStats, error) {
	return library.UsageStats{}, fmt.Errorf("%s are not summed up here", c.resource)
}

func (c counted[T]) object(item runtime.Object) (T, error) {
	object, ok := item.(T)
	if !ok {
		return object, fmt.Errorf("%T is none of %s", item, c.resource)
	}
	return object, nil
}
