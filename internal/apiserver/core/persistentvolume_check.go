package core

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkPersistentVolume(v *corev1.PersistentVolume) field.ErrorList {
	return append(checkVolumeSpec(v, false), checkMountOptions(v)...)
}

func checkVolumeSpec(v *corev1.PersistentVolume, lenient bool) field.ErrorList {
	at, spec := field.NewPath("spec"), &v.Spec
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(at.Child("accessModes"), ""))
	}
	errs = append(errs, checkAccessModes(at.Child("accessModes"), spec.AccessModes)...)
	errs = append(errs, checkCapacity(at.Child("capacity"), spec.Capacity)...)
	policies := []corev1.PersistentVolumeReclaimPolicy{corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain}
	if spec.PersistentVolumeReclaimPolicy != "" {
		errs = append(errs, meta.Supported(at.Child("persistentVolumeReclaimPolicy"), spec.PersistentVolumeReclaimPolicy, policies...)...)
	}
	if affinity := spec.NodeAffinity; affinity != nil && affinity.Required != nil {
		errs = append(errs, meta.NodeSelector(at.Child("nodeAffinity", "required"), affinity.Required, lenient)...)
	} else if affinity != nil {
		errs = append(errs, field.Required(at.Child("nodeAffinity", "required"), "must specify required node constraints"))
	}
	errs = append(errs, checkVolumeSource(at, v)...)
	if spec.HostPath != nil && path.Clean(spec.HostPath.Path) == "/" && spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(at.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if spec.StorageClassName != "" {
		errs = append(errs, meta.DNSSubdomain(at.Child("storageClassName"), spec.StorageClassName)...)
	}
	errs = append(errs, checkVolumeMode(at.Child("volumeMode"), spec.VolumeMode)...)
	return append(errs, checkAttributesClass(at, spec)...)
}

// CheckInlineVolume checks a volume that is spelled out where a name could be;
// only CSI has these, for pods that were written for an older kind of storage.
func CheckInlineVolume(at *field.Path, spec *corev1.PersistentVolumeSpec) field.ErrorList {
	const inline = "in the context of inline volumes"
	var errs field.ErrorList
	forbid := func(is bool, name, message string) {
		if is {
			errs = append(errs, field.Forbidden(at.Child(name), message+" "+inline))
		}
	}
	forbid(spec.ClaimRef != nil, "claimRef", "may not be specified")
	forbid(len(spec.Capacity) != 0, "capacity", "may not be specified")
	if spec.CSI == nil {
		errs = append(errs, field.Required(at.Child("csi"), "has to be specified "+inline))
	}
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(at.Child("accessModes"), ""))
	}
	errs = append(errs, checkAccessModes(at.Child("accessModes"), spec.AccessModes)...)
	policy := spec.PersistentVolumeReclaimPolicy
	forbid(policy != "" && policy != corev1.PersistentVolumeReclaimRetain, "persistentVolumeReclaimPolicy", "may only be Retain")
	forbid(spec.NodeAffinity != nil, "nodeAffinity", "may not be specified")
	errs = append(errs, checkVolumeSource(at, &corev1.PersistentVolume{Spec: *spec})...)
	forbid(spec.StorageClassName != "", "storageClassName", "may not be specified")
	mode := meta.Deref(spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	forbid(mode != corev1.PersistentVolumeFilesystem, "volumeMode", "may not specify volumeMode other than Filesystem")
	return errs
}

func checkCapacity(at *field.Path, capacity corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	if len(capacity) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if _, ok := capacity[corev1.ResourceStorage]; !ok || len(capacity) > 1 {
		errs = append(errs, &field.Error{
			Type: field.ErrorTypeNotSupported, Field: at.String(), BadValue: capacity,
			Detail: fmt.Sprintf("supported values: %q", corev1.ResourceStorage),
		})
	}
	for _, name := range meta.Sorted(capacity) {
		quantity := capacity[name]
		if quantity.Value() < 0 {
			errs = append(errs, field.Invalid(at.Key(string(name)), quantity.Value(), "must be a valid resource quantity"))
		}
		errs = append(errs, meta.PositiveQuantity(at.Key(string(name)), quantity)...)
	}
	return errs
}

func checkAttributesClass(at *field.Path, spec *corev1.PersistentVolumeSpec) field.ErrorList {
	if spec.VolumeAttributesClassName == nil {
		return nil
	}
	var errs field.ErrorList
	if name := *spec.VolumeAttributesClassName; name == "" {
		errs = append(errs, field.Required(at.Child("volumeAttributesClassName"), "an empty string is disallowed"))
	} else {
		errs = append(errs, meta.DNSSubdomain(at.Child("volumeAttributesClassName"), name)...)
	}
	if spec.CSI == nil {
		errs = append(errs, field.Required(at.Child("csi"), "has to be specified when using volumeAttributesClassName"))
	}
	return errs
}

// checkMountOptions refuses the old annotation for storage that never read it.
func checkMountOptions(v *corev1.PersistentVolume) field.ErrorList {
	s := &v.Spec
	reads := s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil || s.Quobyte != nil ||
		s.ISCSI != nil || s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil || s.VsphereVolume != nil || s.AzureDisk != nil || s.PhotonPersistentDisk != nil
	if _, set := v.Annotations[corev1.MountOptionAnnotation]; !set || reads {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("metadata", "annotations", corev1.MountOptionAnnotation), "may not specify mount options for this volume type")}
}

// checkPersistentVolumeUpdate: a volume stays where it is. Only the secret for
// expansion may be added, and the affinity to nodes while there is none.
func checkPersistentVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	lenient := old.Spec.NodeAffinity != nil && meta.LenientNodeSelector(old.Spec.NodeAffinity.Required)
	errs := append(checkVolumeSpec(v, lenient), checkMountOptions(v)...)
	source, before := v.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource
	if source.CSI != nil && before.CSI != nil && before.CSI.ControllerExpandSecretRef == nil {
		csi := *source.CSI
		csi.ControllerExpandSecretRef = nil
		source.CSI = &csi
	}
	if !equality.Semantic.DeepEqual(source, before) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(before, source))))
	}
	errs = append(errs, meta.Unchanged(field.NewPath("volumeMode"), v.Spec.VolumeMode, old.Spec.VolumeMode)...)
	if old.Spec.NodeAffinity != nil && !sameAffinity(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), v.Spec.NodeAffinity, meta.Immutable+", except for updating from beta label to GA"))
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// stableLabels are node labels that got a new name when their beta ended.
var stableLabels = map[string]string{
	corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
	corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
	"beta.kubernetes.io/os":             corev1.LabelOSStable,
	"beta.kubernetes.io/arch":           corev1.LabelArchStable,
	corev1.LabelInstanceType:            corev1.LabelInstanceTypeStable,
}

// sameAffinity compares, where a new name of a label is the same label.
func sameAffinity(affinity, old *corev1.VolumeNodeAffinity) bool {
	if affinity == nil || affinity.Required == nil || old.Required == nil {
		return equality.Semantic.DeepEqual(affinity, old)
	}
	terms, before := affinity.Required.NodeSelectorTerms, old.DeepCopy().Required.NodeSelectorTerms
	for i := range min(len(terms), len(before)) {
		labels := before[i].MatchExpressions
		for j := range min(len(terms[i].MatchExpressions), len(labels)) {
			if name := terms[i].MatchExpressions[j].Key; stableLabels[labels[j].Key] == name {
				labels[j].Key = name
			}
		}
	}
	return equality.Semantic.DeepEqual(terms, before)
}

func checkPersistentVolumeStatus(v, _ *corev1.PersistentVolume) field.ErrorList {
	return checkVersioned(v.ResourceVersion)
}
