package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unlimited is the limit of lists that are kept short by something else.
const unlimited = -1

// checkList checks each entry of a list; one that is too long is not looked into.
func checkList[T any](path *field.Path, list []T, limit int, check func(*field.Path, T) field.ErrorList) field.ErrorList {
	if limit >= 0 && len(list) > limit {
		return field.ErrorList{field.TooMany(path, len(list), limit)}
	}
	var errs field.ErrorList
	for i, entry := range list {
		errs = append(errs, check(path.Index(i), entry)...)
	}
	return errs
}

// checkSet is checkList where no two entries may have the same key. The message
// about one that does shows the entry.
func checkSet[T any, K comparable](path *field.Path, list []T, limit int, key func(T) K, check func(*field.Path, T) field.ErrorList) field.ErrorList {
	errs := checkList(path, list, limit, check)
	if limit >= 0 && len(list) > limit {
		return errs
	}
	seen := sets.New[K]()
	for i, entry := range list {
		k := key(entry)
		if seen.Has(k) {
			errs = append(errs, field.Duplicate(path.Index(i), shown(entry)))
		}
		seen.Insert(k)
	}
	return errs
}

// shown is a name for devices, of which there may be much to tell.
func shown(entry any) any {
	if device, ok := entry.(resourcev1.Device); ok {
		return device.Name
	}
	return entry
}

func itself[T any](entry T) T { return entry }
