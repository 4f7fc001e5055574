package namespace

import (
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// deletable are the kinds of a discovery answer that live in namespaces and can
// be listed and deleted.
func deletable(lists []*metav1.APIResourceList) []schema.GroupVersionResource {
	var found []schema.GroupVersionResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			verbs := strings.Join(r.Verbs, " ") + " "
			if r.Namespaced && !strings.Contains(r.Name, "/") && strings.Contains(verbs, "list ") && strings.Contains(verbs, "delete ") {
				found = append(found, gv.WithResource(r.Name))
			}
		}
	}
	return found
}

// stages in which a namespace is emptied: pods first, so that none runs on without
// what guards it, like its NetworkPolicies (KEP-5080).
func stages(resources []schema.GroupVersionResource) [][]schema.GroupVersionResource {
	var pods, rest []schema.GroupVersionResource
	for _, r := range resources {
		if r.GroupResource() == v1.Resource("pods") {
			pods = append(pods, r)
		} else {
			rest = append(rest, r)
		}
	}
	return [][]schema.GroupVersionResource{pods, rest}
}

// remaining of one kind in a namespace that is being emptied.
type remaining struct {
	resource   schema.GroupVersionResource
	count      int
	finalizers map[string]int
}

// conditions tell a reader what a terminating namespace waits for.
func conditions(left []remaining, failures []string) []v1.NamespaceCondition {
	set := func(t v1.NamespaceConditionType, bad bool, badReason, badMessage, reason, message string) v1.NamespaceCondition {
		if bad {
			return v1.NamespaceCondition{Type: t, Status: v1.ConditionTrue, Reason: badReason, Message: badMessage}
		}
		return v1.NamespaceCondition{Type: t, Status: v1.ConditionFalse, Reason: reason, Message: message}
	}
	var kinds, holders []string
	byFinalizer := map[string]int{}
	for _, r := range left {
		if r.count > 0 {
			kinds = append(kinds, name(r.resource)+" has "+instances(r.count))
		}
		for f, n := range r.finalizers {
			byFinalizer[f] += n
		}
	}
	for f, n := range byFinalizer {
		holders = append(holders, f+" in "+instances(n))
	}
	sort.Strings(kinds)
	sort.Strings(holders)
	sort.Strings(failures)
	return []v1.NamespaceCondition{
		set(v1.NamespaceDeletionContentFailure, len(failures) > 0, "ContentDeletionFailed", "Failed to delete all resource types, "+count(len(failures))+" remaining: "+strings.Join(failures, ", "),
			"ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
		set(v1.NamespaceContentRemaining, len(kinds) > 0, "SomeResourcesRemain", "Some resources are remaining: "+strings.Join(kinds, ", "),
			"ContentRemoved", "All content successfully removed"),
		set(v1.NamespaceFinalizersRemaining, len(holders) > 0, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+strings.Join(holders, ", "),
			"ContentHasNoFinalizers", "All content-preserving finalizers finished"),
	}
}

func name(r schema.GroupVersionResource) string {
	if r.Group == "" {
		return r.Resource + "."
	}
	return r.Resource + "." + r.Group
}
