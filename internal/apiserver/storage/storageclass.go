package storage

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A StorageClass says how volumes for claims are made.
func storageClasses() resource.Resource {
	docs := storagev1.StorageClass{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "storageclasses",
		Singular:     "storageclass",
		Kind:         "StorageClass",
		ShortNames:   []string{"sc"},
		New:          func() runtime.Object { return &storagev1.StorageClass{} },
		NewList:      func() runtime.Object { return &storagev1.StorageClassList{} },
		Default:      meta.Default(defaultStorageClass),
		Check:        meta.Check(checkStorageClass),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkStorageClassUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Provisioner", docs["provisioner"]),
			meta.String("ReclaimPolicy", docs["reclaimPolicy"]),
			meta.String("VolumeBindingMode", docs["volumeBindingMode"]),
			meta.String("AllowVolumeExpansion", docs["allowVolumeExpansion"]),
			meta.Created(),
		),
		Row: meta.Row(storageClassRow),
	}
}

func defaultStorageClass(c *storagev1.StorageClass) {
	meta.SetDefault(&c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
	meta.SetDefault(&c.VolumeBindingMode, storagev1.VolumeBindingImmediate)
}

func checkStorageClass(c *storagev1.StorageClass) field.ErrorList {
	errs := append(checkProvisioner("provisioner", c.Provisioner), checkParameters(c.Parameters)...)
	if policy := meta.Deref(c.ReclaimPolicy, ""); policy != "" {
		errs = append(errs, meta.Supported(field.NewPath("reclaimPolicy"), policy, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	path := field.NewPath("volumeBindingMode")
	if c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, meta.Supported(path, *c.VolumeBindingMode, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	return append(errs, checkTopologies(field.NewPath("allowedTopologies"), c.AllowedTopologies)...)
}

func checkProvisioner(name, value string) field.ErrorList {
	path := field.NewPath(name)
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return meta.QualifiedName(path, strings.ToLower(value))
}

// How much a class may tell its driver.
const (
	mostParameters    = 512
	longestParameters = 256 << 10
)

func checkParameters(parameters map[string]string) field.ErrorList {
	path := field.NewPath("parameters")
	if len(parameters) > mostParameters {
		return field.ErrorList{field.TooLong(path, "", mostParameters)}
	}
	var errs field.ErrorList
	if _, unnamed := parameters[""]; unnamed {
		errs = append(errs, field.Invalid(path, "", "field can not be empty."))
	}
	if size(parameters) > longestParameters {
		errs = append(errs, field.TooLong(path, "", longestParameters))
	}
	return errs
}

func size(m map[string]string) int {
	n := 0
	for key, value := range m {
		n += len(key) + len(value)
	}
	return n
}

// checkTopologies checks that no term says the same as another in other words;
// an empty one is refused as if it did.
func checkTopologies(path *field.Path, terms []corev1.TopologySelectorTerm) field.ErrorList {
	var errs field.ErrorList
	var seen []map[string][]string
	for i, term := range terms {
		at := path.Index(i).Child("matchLabelExpressions")
		values := map[string][]string{}
		for j, r := range term.MatchLabelExpressions {
			errs = append(errs, checkTopology(at.Index(j), r)...)
			if _, twice := values[r.Key]; twice {
				errs = append(errs, field.Duplicate(at.Index(j).Child("key"), r.Key))
			}
			values[r.Key] = slices.Compact(slices.Sorted(slices.Values(r.Values)))
		}
		if len(values) == 0 || slices.ContainsFunc(seen, func(other map[string][]string) bool { return equality.Semantic.DeepEqual(values, other) }) {
			errs = append(errs, field.Duplicate(at, ""))
		}
		seen = append(seen, values)
	}
	return errs
}

func checkTopology(path *field.Path, r corev1.TopologySelectorLabelRequirement) field.ErrorList {
	var errs field.ErrorList
	if len(r.Values) == 0 {
		errs = append(errs, field.Required(path.Child("values"), ""))
	}
	for i, value := range r.Values {
		if slices.Contains(r.Values[:i], value) {
			errs = append(errs, field.Duplicate(path.Child("values").Index(i), value))
		}
	}
	return append(errs, metavalidation.ValidateLabelName(r.Key, path.Child("key"))...)
}

func checkStorageClassUpdate(c, old *storagev1.StorageClass) field.ErrorList {
	return meta.Join(
		checkStorageClass(c),
		meta.Unchanged(field.NewPath("parameters"), c.Parameters, old.Parameters),
		meta.Unchanged(field.NewPath("provisioner"), c.Provisioner, old.Provisioner),
		meta.Unchanged(field.NewPath("reclaimPolicy"), c.ReclaimPolicy, old.ReclaimPolicy),
		meta.Unchanged(field.NewPath("volumeBindingMode"), c.VolumeBindingMode, old.VolumeBindingMode),
	)
}

// Where a class says that it is for claims without one, now and as it first was.
var defaultAnnotations = []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}

func storageClassRow(c *storagev1.StorageClass, now metav1.Time) []any {
	name := c.Name
	if slices.ContainsFunc(defaultAnnotations, func(key string) bool { return c.Annotations[key] == "true" }) {
		name += " (default)"
	}
	return []any{
		name, c.Provisioner, string(meta.Deref(c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)),
		string(meta.Deref(c.VolumeBindingMode, storagev1.VolumeBindingImmediate)), meta.Deref(c.AllowVolumeExpansion, false), meta.Age(c.CreationTimestamp, now),
	}
}
