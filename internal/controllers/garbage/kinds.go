package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind of objects and how the API serves it.
type kind struct {
	kind       schema.GroupVersionKind
	resource   schema.GroupVersionResource
	namespaced bool
	watched    bool // can be listed, watched and deleted
}

// unwatched kinds have no owners and are no owners, and change often.
var unwatched = []schema.GroupResource{
	{Group: "", Resource: "events"},
	{Group: "events.k8s.io", Resource: "events"},
}

// kindsOf reads the API's preferred resources.
func kindsOf(lists []*metav1.APIResourceList) map[schema.GroupKind]kind {
	kinds := map[schema.GroupKind]kind{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			k := kind{kind: gv.WithKind(r.Kind), resource: gv.WithResource(r.Name), namespaced: r.Namespaced}
			k.watched = can(r, "list") && can(r, "watch") && can(r, "delete") && !slices.Contains(unwatched, k.resource.GroupResource())
			if have, known := kinds[k.kind.GroupKind()]; !known || !have.watched {
				kinds[k.kind.GroupKind()] = k
			}
		}
	}
	return kinds
}

func can(r metav1.APIResource, verb string) bool { return slices.Contains(r.Verbs, verb) }
