package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// accessModes are the ways to use a volume, in the order in which they are shown.
var accessModes = []struct {
	mode  corev1.PersistentVolumeAccessMode
	short string
}{
	{corev1.ReadWriteOnce, "RWO"},
	{corev1.ReadOnlyMany, "ROX"},
	{corev1.ReadWriteMany, "RWX"},
	{corev1.ReadWriteOncePod, "RWOP"},
}

func accessModesCell(modes []corev1.PersistentVolumeAccessMode) string {
	var shorts []string
	for _, known := range accessModes {
		if slices.Contains(modes, known.mode) {
			shorts = append(shorts, known.short)
		}
	}
	return strings.Join(shorts, ",")
}

func checkAccessModes(path *field.Path, modes []corev1.PersistentVolumeAccessMode) field.ErrorList {
	var errs field.ErrorList
	exclusive, shared := false, false
	for _, mode := range modes {
		wrong := meta.Supported(path, mode, corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOncePod)
		errs = append(errs, wrong...)
		exclusive = exclusive || mode == corev1.ReadWriteOncePod
		shared = shared || mode != corev1.ReadWriteOncePod && len(wrong) == 0
	}
	if exclusive && shared {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func checkVolumeMode(path *field.Path, mode *corev1.PersistentVolumeMode) field.ErrorList {
	if mode == nil {
		return nil
	}
	return meta.Supported(path, *mode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}
