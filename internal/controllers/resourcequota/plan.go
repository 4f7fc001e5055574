package resourcequota

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"
)

// asked wakes a quota that is new to us, or limits something else than what was
// summed up last.
//
// Not one of which only the count in use has changed: that was admission, which
// counts an object before it is stored. A sum made then lacks the object, and would
// let in a second one in its place.
func asked(old, current any) []string {
	q, ok := current.(*v1.ResourceQuota)
	if !ok || old != nil && equality.Semantic.DeepEqual(q.Spec.Hard, q.Status.Hard) && len(q.Status.Used) == len(q.Spec.Hard) {
		return nil
	}
	return []string{cache.MetaObjectToName(q).String()}
}

// lower says that something counts for less now.
func lower(before, now v1.ResourceList) bool {
	for name, was := range before {
		is := now[name]
		if is.Cmp(was) < 0 {
			return true
		}
	}
	return false
}
