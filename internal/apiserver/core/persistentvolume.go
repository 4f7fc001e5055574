package core

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PersistentVolume is a piece of storage that outlives pods.
func persistentVolumes() resource.Resource {
	spec, status := corev1.PersistentVolumeSpec{}.SwaggerDoc(), corev1.PersistentVolumeStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "persistentvolumes",
		Singular:     "persistentvolume",
		Kind:         "PersistentVolume",
		ShortNames:   []string{"pv"},
		New:          func() runtime.Object { return &corev1.PersistentVolume{} },
		NewList:      func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Default:      meta.Default(defaultPersistentVolume),
		Prepare:      preparePersistentVolume,
		Check:        meta.Check(checkPersistentVolume),
		Warn:         meta.Warn(warnPersistentVolume),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkPersistentVolumeUpdate),
			WarnUpdate:    meta.WarnUpdate(func(v, _ *corev1.PersistentVolume) []string { return warnPersistentVolume(v) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			PrepareUpdate: preparePersistentVolumeStatus,
			CheckUpdate:   meta.CheckUpdate(checkPersistentVolumeStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(v *corev1.PersistentVolume) fields.Set { return fields.Set{"name": v.Name} }), // beside metadata.name, for old clients
		Columns: meta.Table(
			meta.Name(),
			meta.String("Capacity", spec["capacity"]),
			meta.String("Access Modes", spec["accessModes"]),
			meta.String("Reclaim Policy", spec["persistentVolumeReclaimPolicy"]),
			meta.String("Status", status["phase"]),
			meta.String("Claim", spec["claimRef"]),
			meta.String("StorageClass", "StorageClass of the pv"),
			meta.String("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
			meta.String("Reason", status["reason"]),
			meta.Created(),
			meta.Wide(meta.String("VolumeMode", spec["volumeMode"])),
		),
		Row: meta.Row(persistentVolumeRow),
	}
}

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	if v.Spec.PersistentVolumeReclaimPolicy == "" {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	meta.SetDefault(&v.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	meta.RoundUp(v.Spec.Capacity)
	DefaultVolumeSource(&v.Spec.PersistentVolumeSource)
}

// DefaultVolumeSource fills in what the older kinds of storage are known to default to.
func DefaultVolumeSource(s *corev1.PersistentVolumeSource) {
	text := func(p *string, value string) {
		if *p == "" {
			*p = value
		}
	}
	if s.HostPath != nil {
		meta.SetDefault(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.ISCSI != nil {
		text(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		text(&s.RBD.RBDPool, "rbd")
		text(&s.RBD.RadosUser, "admin")
		text(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		meta.SetDefault(&s.AzureDisk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		meta.SetDefault(&s.AzureDisk.FSType, "ext4")
		meta.SetDefault(&s.AzureDisk.ReadOnly, false)
		meta.SetDefault(&s.AzureDisk.Kind, corev1.AzureSharedBlobDisk)
	}
	if s.ScaleIO != nil {
		text(&s.ScaleIO.StorageMode, "ThinProvisioned")
		text(&s.ScaleIO.FSType, "xfs")
	}
}

func preparePersistentVolume(ctx context.Context, obj runtime.Object) {
	v := obj.(*corev1.PersistentVolume)
	v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
	if now, ok := meta.RequestTime(ctx); ok {
		v.Status.LastPhaseTransitionTime = &now
	}
}

// preparePersistentVolumeStatus dates a change of phase where the client did not.
func preparePersistentVolumeStatus(ctx context.Context, obj, before runtime.Object) {
	v, old := obj.(*corev1.PersistentVolume), before.(*corev1.PersistentVolume)
	moved := v.Status.Phase != old.Status.Phase
	stamp := v.Status.LastPhaseTransitionTime
	switch {
	case !moved && stamp == nil:
		v.Status.LastPhaseTransitionTime = old.Status.LastPhaseTransitionTime
	case moved && (stamp == nil || stamp.Equal(old.Status.LastPhaseTransitionTime)):
		if now, ok := meta.RequestTime(ctx); ok {
			v.Status.LastPhaseTransitionTime = &now
		}
	}
}

func warnPersistentVolume(v *corev1.PersistentVolume) []string {
	var warnings []string
	warn := func(is bool, what, message string) {
		if is {
			warnings = append(warnings, fmt.Sprintf("%s: %s", what, message))
		}
	}
	_, class := v.Annotations[corev1.BetaStorageClassAnnotation]
	_, options := v.Annotations[corev1.MountOptionAnnotation]
	warn(class, "metadata.annotations["+corev1.BetaStorageClassAnnotation+"]", `deprecated since v1.8; use "storageClassName" attribute instead`)
	warn(options, "metadata.annotations["+corev1.MountOptionAnnotation+"]", `deprecated since v1.31; use "mountOptions" attribute instead`)
	s := v.Spec
	warn(s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle, "spec.persistentVolumeReclaimPolicy",
		"The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	warn(s.CephFS != nil, "spec.cephfs", "deprecated in v1.28, non-functional in v1.31+")
	warn(s.PhotonPersistentDisk != nil, "spec.photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+")
	warn(s.ScaleIO != nil, "spec.scaleIO", "deprecated in v1.16, non-functional in v1.22+")
	warn(s.StorageOS != nil, "spec.storageOS", "deprecated in v1.22, non-functional in v1.25+")
	warn(s.Glusterfs != nil, "spec.glusterfs", "deprecated in v1.25, non-functional in v1.26+")
	warn(s.RBD != nil, "spec.rbd", "deprecated in v1.28, non-functional in v1.31+")
	return warnings
}

func persistentVolumeRow(v *corev1.PersistentVolume, now metav1.Time) []any {
	claim := ""
	if ref := v.Spec.ClaimRef; ref != nil {
		claim = ref.Namespace + "/" + ref.Name
	}
	phase := string(v.Status.Phase)
	if v.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	class := v.Spec.StorageClassName
	if annotated, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		class = annotated
	}
	return []any{
		v.Name, amount(v.Spec.Capacity, corev1.ResourceStorage), accessModesCell(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy),
		phase, claim, class, meta.Deref(v.Spec.VolumeAttributesClassName, meta.Unset), v.Status.Reason,
		meta.Age(v.CreationTimestamp, now), string(meta.Deref(v.Spec.VolumeMode, meta.Unset)),
	}
}

func amount(list corev1.ResourceList, name corev1.ResourceName) string {
	quantity := list[name]
	return quantity.String()
}
