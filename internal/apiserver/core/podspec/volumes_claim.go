package podspec

import (
	"reflect"
	"slices"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkClaimTemplate(t *v1.PersistentVolumeClaimTemplate, at *field.Path) field.ErrorList {
	return meta.Join(checkTemplateMeta(&t.ObjectMeta, at.Child("metadata")), ValidateClaimSpec(&t.Spec, at.Child("spec")))
}

// checkTemplateMeta: only labels and annotations are copied to what is made of the template.
func checkTemplateMeta(m *metav1.ObjectMeta, at *field.Path) field.ErrorList {
	errs := meta.Join(
		apivalidation.ValidateAnnotations(m.Annotations, at.Child("annotations")),
		metavalidation.ValidateLabels(m.Labels, at.Child("labels")),
	)
	return append(errs, onlyFields(*m, at, "cannot be set", "Annotations", "Labels")...)
}

// onlyFields refuses every field of a struct that is set and not named. It is by
// reflection so that a field the API adds later is refused until somebody allows it.
func onlyFields(v any, at *field.Path, refusal string, allowed ...string) field.ErrorList {
	var errs field.ErrorList
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		if !slices.Contains(allowed, name) && !value.Field(i).IsZero() {
			errs = append(errs, field.Forbidden(at.Child(lower(name[:1])+name[1:]), refusal))
		}
	}
	return errs
}

var accessModes = []v1.PersistentVolumeAccessMode{v1.ReadOnlyMany, v1.ReadWriteMany, v1.ReadWriteOnce, v1.ReadWriteOncePod}

// ValidateClaimSpec reports what is wrong with the spec of a new claim.
func ValidateClaimSpec(spec *v1.PersistentVolumeClaimSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(at.Child("accessModes"), "at least 1 access mode is required"))
	}
	if spec.Selector != nil {
		errs = append(errs, meta.Selector(at.Child("selector"), spec.Selector)...)
	}
	alone, others := false, false
	for _, mode := range spec.AccessModes {
		errs = append(errs, meta.Supported(at.Child("accessModes"), mode, accessModes...)...)
		alone = alone || mode == v1.ReadWriteOncePod
		others = others || mode != v1.ReadWriteOncePod && slices.Contains(accessModes, mode)
	}
	if alone && others {
		errs = append(errs, field.Forbidden(at.Child("accessModes"), "may not use ReadWriteOncePod with other access modes"))
	}
	size := at.Child("resources").Key(string(v1.ResourceStorage))
	if storage, set := spec.Resources.Requests[v1.ResourceStorage]; !set {
		errs = append(errs, field.Required(size, ""))
	} else {
		errs = append(errs, meta.PositiveQuantity(size, storage)...)
	}
	if class := spec.StorageClassName; class != nil && *class != "" {
		errs = append(errs, objectName(at.Child("storageClassName"), *class)...)
	}
	if mode := spec.VolumeMode; mode != nil {
		errs = append(errs, meta.Supported(at.Child("volumeMode"), *mode, v1.PersistentVolumeBlock, v1.PersistentVolumeFilesystem)...)
	}
	errs = append(errs, checkDataSource(spec, at)...)
	if class := spec.VolumeAttributesClassName; class != nil && *class != "" {
		errs = append(errs, objectName(at.Child("volumeAttributesClassName"), *class)...)
	}
	return errs
}

// checkDataSource checks what a claim is to be filled from, in its two spellings.
func checkDataSource(spec *v1.PersistentVolumeClaimSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	source, ref := spec.DataSource, spec.DataSourceRef
	if source != nil {
		errs = append(errs, checkSourceObject(source.APIGroup, source.Kind, source.Name, at.Child("dataSource"))...)
	}
	if ref == nil {
		return errs
	}
	errs = append(errs, checkSourceObject(ref.APIGroup, ref.Kind, ref.Name, at.Child("dataSourceRef"))...)
	foreign := ref.Namespace != nil && *ref.Namespace != ""
	if foreign {
		errs = append(errs, meta.Invalid(at.Child("dataSourceRef", "namespace"), *ref.Namespace, apivalidation.ValidateNamespaceName(*ref.Namespace, false))...)
	}
	switch {
	case source == nil:
	case foreign:
		errs = append(errs, field.Invalid(at, at.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
	case !reflect.DeepEqual(source.APIGroup, ref.APIGroup) || source.Kind != ref.Kind || source.Name != ref.Name:
		errs = append(errs, field.Invalid(at, at.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

func checkSourceObject(group *string, kind, name string, at *field.Path) field.ErrorList {
	errs := meta.Join(meta.Required(at.Child("name"), name), meta.Required(at.Child("kind"), kind))
	if group == nil || *group == "" {
		if kind != "PersistentVolumeClaim" {
			errs = append(errs, field.Invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		}
		return errs
	}
	return append(errs, meta.DNSSubdomain(at.Child("apiGroup"), *group)...)
}
