package podspec

import (
	"iter"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// All yields every container of a spec: init, main, ephemeral. An ephemeral
// container is seen as the container it is made of, in place.
func All(spec *v1.PodSpec) iter.Seq[*v1.Container] {
	return func(yield func(*v1.Container) bool) {
		for c := range AllAt(spec, nil) {
			if !yield(c) {
				return
			}
		}
	}
}

// AllAt yields every container of a spec with its path below path.
func AllAt(spec *v1.PodSpec, path *field.Path) iter.Seq2[*v1.Container, *field.Path] {
	return func(yield func(*v1.Container, *field.Path) bool) {
		at := path.Child("initContainers")
		for i := range spec.InitContainers {
			if !yield(&spec.InitContainers[i], at.Index(i)) {
				return
			}
		}
		at = path.Child("containers")
		for i := range spec.Containers {
			if !yield(&spec.Containers[i], at.Index(i)) {
				return
			}
		}
		at = path.Child("ephemeralContainers")
		for i := range spec.EphemeralContainers {
			c := (*v1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(c, at.Index(i)) {
				return
			}
		}
	}
}
