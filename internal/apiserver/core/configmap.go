package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ConfigMap holds up to 1 MiB of configuration by key.
func configMaps() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "configmaps",
		Singular:     "configmap",
		Kind:         "ConfigMap",
		ShortNames:   []string{"cm"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.ConfigMap{} },
		NewList:      func() runtime.Object { return &corev1.ConfigMapList{} },
		Check:        meta.Check(checkConfigMap),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkConfigMapUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("Data", corev1.ConfigMap{}.SwaggerDoc()["data"]), meta.Created()),
		Row: meta.Row(func(c *corev1.ConfigMap, now metav1.Time) []any {
			return []any{c.Name, int64(len(c.Data) + len(c.BinaryData)), meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func checkConfigMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for _, key := range meta.Sorted(c.Data) {
		path := field.NewPath("data").Key(key)
		errs = append(errs, meta.Invalid(path, key, validation.IsConfigMapKey(key))...)
		if _, twice := c.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(path, key, "duplicate of key present in binaryData"))
		}
		size += len(c.Data[key])
	}
	for _, key := range meta.Sorted(c.BinaryData) {
		errs = append(errs, meta.Invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(c.BinaryData[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize)) // the object as a whole
	}
	return errs
}

func checkConfigMapUpdate(c, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	if meta.Deref(old.Immutable, false) {
		errs = meta.Join(
			checkStaysImmutable(c.Immutable),
			checkFrozen("data", c.Data, old.Data),
			checkFrozen("binaryData", c.BinaryData, old.BinaryData),
		)
	}
	return append(errs, checkConfigMap(c)...)
}
