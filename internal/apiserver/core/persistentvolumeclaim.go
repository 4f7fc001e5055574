package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PersistentVolumeClaim asks for storage, and is bound to one volume for life.
func persistentVolumeClaims() resource.Resource {
	spec, status := corev1.PersistentVolumeClaimSpec{}.SwaggerDoc(), corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "persistentvolumeclaims",
		Singular:     "persistentvolumeclaim",
		Kind:         "PersistentVolumeClaim",
		ShortNames:   []string{"pvc"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
		NewList:      func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		Default:      meta.Default(defaultPersistentVolumeClaim),
		Prepare:      meta.Prepare(preparePersistentVolumeClaim),
		Check: meta.Check(func(c *corev1.PersistentVolumeClaim) field.ErrorList {
			return CheckClaimSpec(field.NewPath("spec"), &c.Spec, nil)
		}),
		Warn: meta.Warn(warnPersistentVolumeClaim),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(preparePersistentVolumeClaimUpdate),
			CheckUpdate:   meta.CheckUpdate(checkPersistentVolumeClaimUpdate),
			WarnUpdate:    meta.WarnUpdate(func(c, _ *corev1.PersistentVolumeClaim) []string { return warnPersistentVolumeClaim(c) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			PrepareUpdate: meta.PrepareUpdate(preparePersistentVolumeClaimStatus),
			CheckUpdate:   meta.CheckUpdate(checkPersistentVolumeClaimStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Fields: meta.Fields(func(c *corev1.PersistentVolumeClaim) fields.Set { return fields.Set{"name": c.Name} }), // beside metadata.name, for old clients
		Columns: meta.Table(
			meta.Name(),
			meta.String("Status", status["phase"]),
			meta.String("Volume", spec["volumeName"]),
			meta.String("Capacity", status["capacity"]),
			meta.String("Access Modes", status["accessModes"]),
			meta.String("StorageClass", "StorageClass of the pvc"),
			meta.String("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
			meta.Created(),
			meta.Wide(meta.String("VolumeMode", spec["volumeMode"])),
		),
		Row: meta.Row(persistentVolumeClaimRow),
	}
}

func defaultPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	if c.Status.Phase == "" {
		c.Status.Phase = corev1.ClaimPending
	}
	DefaultClaimSpec(&c.Spec)
	meta.RoundUp(c.Status.Capacity)
	meta.RoundUp(c.Status.AllocatedResources)
}

// DefaultClaimSpec is for claims, also those that are made from templates.
func DefaultClaimSpec(spec *corev1.PersistentVolumeClaimSpec) {
	meta.SetDefault(&spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	meta.RoundUp(spec.Resources.Limits)
	meta.RoundUp(spec.Resources.Requests)
}

func preparePersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	prepareDataSource(&c.Spec, nil)
}

func preparePersistentVolumeClaimUpdate(c, old *corev1.PersistentVolumeClaim) {
	prepareDataSource(&c.Spec, &old.Spec)
}

func preparePersistentVolumeClaimStatus(c, old *corev1.PersistentVolumeClaim) {
	if old.Status.HealthStatus == nil {
		c.Status.HealthStatus = nil // CSIVolumeHealth is alpha
	}
}

// prepareDataSource keeps dataSource, which could name only claims and
// snapshots and silently dropped all else, in step with dataSourceRef.
func prepareDataSource(spec, old *corev1.PersistentVolumeClaimSpec) {
	if ref := spec.DataSourceRef; ref != nil && meta.Deref(ref.Namespace, "") != "" && (old == nil || old.DataSourceRef == nil) {
		spec.DataSourceRef = nil // data of other namespaces is an alpha feature
	}
	used := old != nil && (old.DataSource != nil || old.DataSourceRef != nil)
	if !used && spec.DataSourceRef == nil && !claimOrSnapshot(spec.DataSource) {
		spec.DataSource = nil
	}
	switch source, ref := spec.DataSource, spec.DataSourceRef; {
	case source != nil && ref == nil:
		spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: source.APIGroup, Kind: source.Kind, Name: source.Name}
	case source == nil && ref != nil && meta.Deref(ref.Namespace, "") == "":
		spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: ref.APIGroup, Kind: ref.Kind, Name: ref.Name}
	}
}

func claimOrSnapshot(source *corev1.TypedLocalObjectReference) bool {
	if source == nil {
		return false
	}
	group := meta.Deref(source.APIGroup, "")
	return source.Kind == "PersistentVolumeClaim" && group == "" || source.Kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io"
}

func warnPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) []string {
	var warnings []string
	if _, set := c.Annotations[corev1.BetaStorageClassAnnotation]; set {
		warnings = append(warnings, fmt.Sprintf(`metadata.annotations[%s]: deprecated since v1.8; use "storageClassName" attribute instead`, corev1.BetaStorageClassAnnotation))
	}
	return append(warnings, WarnClaimSpec(field.NewPath("spec"), &c.Spec)...)
}

// WarnClaimSpec tells of sizes that are not whole bytes.
func WarnClaimSpec(path *field.Path, spec *corev1.PersistentVolumeClaimSpec) []string {
	var warnings []string
	warn := func(name string, list corev1.ResourceList) {
		size := list[corev1.ResourceStorage]
		if size.MilliValue()%1000 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer",
				path.Child("resources", name).Key(string(corev1.ResourceStorage)), size.String()))
		}
	}
	warn("requests", spec.Resources.Requests)
	warn("limits", spec.Resources.Limits)
	return warnings
}

func persistentVolumeClaimRow(c *corev1.PersistentVolumeClaim, now metav1.Time) []any {
	phase := string(c.Status.Phase)
	if c.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	capacity, modes := "", ""
	if c.Spec.VolumeName != "" {
		capacity, modes = amount(c.Status.Capacity, corev1.ResourceStorage), accessModesCell(c.Status.AccessModes)
	}
	class := meta.Deref(c.Spec.StorageClassName, "")
	if annotated, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		class = annotated
	}
	return []any{
		c.Name, phase, c.Spec.VolumeName, capacity, modes, class, meta.Deref(c.Spec.VolumeAttributesClassName, meta.Unset),
		meta.Age(c.CreationTimestamp, now), string(meta.Deref(c.Spec.VolumeMode, meta.Unset)),
	}
}
