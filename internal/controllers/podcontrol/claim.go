package podcontrol

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Claims sorts objects by what an owner has to do with them.
type Claims[T metav1.Object] struct {
	Mine    []T
	Adopt   []T // orphans that match
	Release []T // its own that match no longer
}

// Sort says which objects are an owner's. An owner that is being deleted adopts
// and releases nothing; an object that is being deleted is not adopted.
func Sort[T metav1.Object](owner metav1.Object, matches func(T) bool, objects []T) Claims[T] {
	var c Claims[T]
	leaving := owner.GetDeletionTimestamp() != nil
	for _, o := range objects {
		ref := metav1.GetControllerOfNoCopy(o)
		switch {
		case ref != nil && ref.UID != owner.GetUID():
		case ref != nil && matches(o):
			c.Mine = append(c.Mine, o)
		case ref != nil && !leaving:
			c.Release = append(c.Release, o)
		case ref == nil && !leaving && matches(o) && o.GetDeletionTimestamp() == nil && o.GetNamespace() == owner.GetNamespace():
			c.Adopt = append(c.Adopt, o)
		}
	}
	return c
}

// Matching is a test by labels.
func Matching[T metav1.Object](selector labels.Selector) func(T) bool {
	return func(o T) bool { return selector.Matches(labels.Set(o.GetLabels())) }
}
