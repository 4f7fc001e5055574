package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// CheckClaimSpec checks a claim, also one in a template; old is the stored one, nil at creation.
func CheckClaimSpec(path *field.Path, spec, old *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	}
	if spec.Selector != nil {
		stored := spec.Selector
		if old == nil {
			stored = nil
		} else if old.Selector != nil {
			stored = old.Selector
		}
		errs = append(errs, meta.SelectorUpdate(path.Child("selector"), spec.Selector, stored)...)
	}
	errs = append(errs, checkAccessModes(path.Child("accessModes"), spec.AccessModes)...)
	errs = append(errs, checkClaimSize(path.Child("resources").Key(string(corev1.ResourceStorage)), spec)...)
	if class := meta.Deref(spec.StorageClassName, ""); class != "" {
		errs = append(errs, meta.DNSSubdomain(path.Child("storageClassName"), class)...)
	}
	errs = append(errs, checkVolumeMode(path.Child("volumeMode"), spec.VolumeMode)...)
	errs = append(errs, checkDataSources(path, spec, old)...)
	if class := meta.Deref(spec.VolumeAttributesClassName, ""); class != "" {
		errs = append(errs, meta.DNSSubdomain(path.Child("volumeAttributesClassName"), class)...)
	}
	return errs
}

func checkClaimSize(path *field.Path, spec *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	size, ok := spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return field.ErrorList{field.Required(path, "")}
	}
	return meta.PositiveQuantity(path, size)
}

func checkDataSources(path *field.Path, spec, old *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	source, ref := spec.DataSource, spec.DataSourceRef
	lenient := old != nil && (old.DataSource != nil && old.DataSource.APIGroup != nil || old.DataSourceRef != nil && old.DataSourceRef.APIGroup != nil)
	var errs field.ErrorList
	if source != nil {
		errs = append(errs, checkDataSource(path.Child("dataSource"), source.APIGroup, source.Kind, source.Name, lenient)...)
	}
	if ref == nil {
		return errs
	}
	errs = append(errs, checkDataSource(path.Child("dataSourceRef"), ref.APIGroup, ref.Kind, ref.Name, lenient)...)
	elsewhere := meta.Deref(ref.Namespace, "")
	if elsewhere != "" {
		errs = append(errs, meta.DNSLabel(path.Child("dataSourceRef", "namespace"), elsewhere)...)
	}
	if source == nil {
		return errs
	}
	same := equality.Semantic.DeepEqual(source.APIGroup, ref.APIGroup) && source.Kind == ref.Kind && source.Name == ref.Name
	if elsewhere != "" {
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
	} else if !same {
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

func checkDataSource(path *field.Path, apiGroup *string, kind, name string, lenient bool) field.ErrorList {
	errs := need(path, "name", name, "kind", kind)
	group := meta.Deref(apiGroup, "")
	if group == "" && kind != "PersistentVolumeClaim" {
		errs = append(errs, field.Invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	if group != "" && !lenient {
		errs = append(errs, meta.DNSSubdomain(path.Child("apiGroup"), group)...)
	}
	return errs
}

// checkPersistentVolumeClaimUpdate: a claim is fixed, so that quota and limits
// can't be gone around, except that it is bound once, and while bound may grow
// and change its class of attributes.
func checkPersistentVolumeClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	path := field.NewPath("spec")
	errs := CheckClaimSpec(path, &c.Spec, &old.Spec)
	allowed := allowedClaim(c, old)
	annotation, before := c.Annotations[corev1.BetaStorageClassAnnotation], old.Annotations[corev1.BetaStorageClassAnnotation]
	if !movesClassOutOfAnnotation(c, old) && annotation != before {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations", corev1.BetaStorageClassAnnotation), annotation, meta.Immutable))
	}
	if prepared := withDataSources(old); !equality.Semantic.DeepEqual(allowed, prepared) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf(
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v", diff.Diff(prepared, allowed))))
	}
	size, was, has := c.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage], old.Status.Capacity[corev1.ResourceStorage]
	if size.Cmp(was) < 0 && size.Cmp(has) <= 0 { // above what is there, a request may be taken back after a failed expansion
		errs = append(errs, field.Forbidden(path.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, meta.Unchanged(field.NewPath("volumeMode"), c.Spec.VolumeMode, old.Spec.VolumeMode)...)
	return append(errs, checkAttributesClassChange(c, old)...)
}

// withDataSources is a stored claim's spec as it would be stored today.
func withDataSources(old *corev1.PersistentVolumeClaim) corev1.PersistentVolumeClaimSpec {
	spec := *old.Spec.DeepCopy()
	prepareDataSource(&spec, &old.Spec)
	return spec
}

// allowedClaim is the new spec with every permitted change undone.
func allowedClaim(c, old *corev1.PersistentVolumeClaim) corev1.PersistentVolumeClaimSpec {
	spec := *c.Spec.DeepCopy()
	if old.Spec.VolumeName == "" {
		spec.VolumeName = ""
	}
	annotation, annotated := old.Annotations[corev1.BetaStorageClassAnnotation]
	if name := c.Spec.StorageClassName; old.Spec.StorageClassName == nil && name != nil && (!annotated || *name == annotation) {
		spec.StorageClassName = nil
	}
	if c.Status.Phase == corev1.ClaimBound {
		if spec.Resources.Requests != nil {
			spec.Resources.Requests[corev1.ResourceStorage] = old.Spec.Resources.Requests[corev1.ResourceStorage]
		}
		spec.VolumeAttributesClassName = old.Spec.VolumeAttributesClassName
	}
	return spec
}

// movesClassOutOfAnnotation: the class may move from the annotation that came
// first to the field of today.
func movesClassOutOfAnnotation(c, old *corev1.PersistentVolumeClaim) bool {
	before, had := old.Annotations[corev1.BetaStorageClassAnnotation]
	annotation, has := c.Annotations[corev1.BetaStorageClassAnnotation]
	return had && old.Spec.StorageClassName == nil && c.Spec.StorageClassName != nil && *c.Spec.StorageClassName == before && (!has || annotation == before)
}

func checkAttributesClassChange(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	class := c.Spec.VolumeAttributesClassName
	if old.Status.CurrentVolumeAttributesClassName == nil || equality.Semantic.DeepEqual(class, old.Spec.VolumeAttributesClassName) {
		return nil
	}
	path := field.NewPath("spec", "volumeAttributesClassName")
	switch {
	case class == nil:
		return field.ErrorList{field.Forbidden(path, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil")}
	case *class == "":
		return field.ErrorList{field.Forbidden(path, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil")}
	}
	return nil
}

var resizeStates = []corev1.ClaimResourceStatus{
	corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
	corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible,
}

func checkPersistentVolumeClaimStatus(c, _ *corev1.PersistentVolumeClaim) field.ErrorList {
	errs := checkVersioned(c.ResourceVersion)
	if len(c.Spec.AccessModes) == 0 {
		errs = append(errs, field.Required(field.NewPath("Spec", "accessModes"), ""))
	}
	status := field.NewPath("status")
	for _, name := range meta.Sorted(c.Status.Capacity) {
		errs = append(errs, notBelowZero(status.Child("capacity").Key(string(name)), c.Status.Capacity, name)...)
	}
	for _, name := range meta.Sorted(c.Status.AllocatedResourceStatuses) {
		path := status.Child("allocatedResourceStatuses")
		errs = append(errs, checkClaimResource(path, name)...)
		if wrong := meta.Supported(path, c.Status.AllocatedResourceStatuses[name], resizeStates...); len(wrong) > 0 {
			wrong[0].BadValue = name
			errs = append(errs, wrong...)
		}
	}
	for _, name := range meta.Sorted(c.Status.AllocatedResources) {
		path := status.Child("allocatedResources")
		if wrong := checkClaimResource(path, name); len(wrong) > 0 {
			errs = append(errs, wrong...)
			continue
		}
		errs = append(errs, notBelowZero(path.Key(string(name)), c.Status.AllocatedResources, name)...)
	}
	return errs
}

func notBelowZero(path *field.Path, list corev1.ResourceList, name corev1.ResourceName) field.ErrorList {
	if quantity := list[name]; quantity.Value() < 0 {
		return field.ErrorList{field.Invalid(path, quantity.Value(), "must be a valid resource quantity")}
	}
	return nil
}

// checkClaimResource: of the API's own resources a claim has storage only.
func checkClaimResource(path *field.Path, name corev1.ResourceName) field.ErrorList {
	if wrong := meta.QualifiedName(path, string(name)); len(wrong) > 0 {
		return wrong
	}
	if meta.Native(name) && name != corev1.ResourceStorage {
		return field.ErrorList{field.NotSupported(path, name, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return nil
}
