package core

import (
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// podSpecFieldsBut lists the paths of all fields of a pod's spec but those named,
// for managed fields: a subresource that writes one field never owns the rest.
func podSpecFieldsBut(names ...string) [][]string {
	var paths [][]string
	spec := reflect.TypeFor[v1.PodSpec]()
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
		if name != "" && !slices.Contains(names, name) {
			paths = append(paths, []string{"spec", name})
		}
	}
	return paths
}
