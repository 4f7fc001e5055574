package podspec

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkMounts checks the file systems of a container. Some errors are reported
// at the list and not at the entry (subPath, propagation), as the API always has.
func (s *scope) checkMounts(c *v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	add := func(es ...*field.Error) { errs = append(errs, es...) }
	devices, devicePaths := deviceNames(c.VolumeDevices)
	taken := sets.Set[string]{}
	for i := range c.VolumeMounts {
		m, at := &c.VolumeMounts[i], path.Index(i)
		add(meta.Required(at.Child("name"), m.Name)...)
		if s.volumes[m.Name] == nil {
			add(field.NotFound(at.Child("name"), m.Name))
		}
		add(meta.Required(at.Child("mountPath"), m.MountPath)...)
		if taken.Has(m.MountPath) {
			add(field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		taken.Insert(m.MountPath)
		if devices.Has(m.Name) {
			add(field.Invalid(at.Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		if devicePaths.Has(m.MountPath) {
			add(field.Invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		add(checkSubPath(m, path, at)...)
		add(checkPropagation(m, c.SecurityContext, path.Child("mountPropagation"))...)
		add(checkRecursiveReadOnly(m, path.Child("recursiveReadOnly"))...)
	}
	return errs
}

func checkSubPath(m *v1.VolumeMount, path, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.SubPath != "" {
		errs = append(errs, relativePath(path.Child("subPath"), m.SubPath)...)
	}
	if m.SubPathExpr != "" {
		if m.SubPath != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, relativePath(path.Child("subPathExpr"), m.SubPathExpr)...)
	}
	return errs
}

func checkPropagation(m *v1.VolumeMount, security *v1.SecurityContext, at *field.Path) field.ErrorList {
	mode := m.MountPropagation
	if mode == nil {
		return nil
	}
	errs := meta.Supported(at, *mode, v1.MountPropagationBidirectional, v1.MountPropagationHostToContainer, v1.MountPropagationNone)
	if *mode == v1.MountPropagationBidirectional && !isPrivileged(security) {
		errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
	}
	return errs
}

func checkRecursiveReadOnly(m *v1.VolumeMount, at *field.Path) field.ErrorList {
	mode := m.RecursiveReadOnly
	if mode == nil || *mode == v1.RecursiveReadOnlyDisabled {
		return nil
	}
	if *mode != v1.RecursiveReadOnlyEnabled && *mode != v1.RecursiveReadOnlyIfPossible {
		return meta.Supported(at, *mode, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible)
	}
	var errs field.ErrorList
	if !m.ReadOnly {
		errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
	}
	if m.MountPropagation != nil && *m.MountPropagation != v1.MountPropagationNone {
		errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
	}
	return errs
}

func deviceNames(devices []v1.VolumeDevice) (names, paths sets.Set[string]) {
	names, paths = sets.Set[string]{}, sets.Set[string]{}
	for _, d := range devices {
		names.Insert(d.Name)
		paths.Insert(d.DevicePath)
	}
	return names, paths
}

// checkDevices checks the raw block devices of a container.
func (s *scope) checkDevices(c *v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	add := func(es ...*field.Error) { errs = append(errs, es...) }
	mounts, mountPaths := sets.Set[string]{}, sets.Set[string]{}
	for _, m := range c.VolumeMounts {
		mounts.Insert(m.Name)
		mountPaths.Insert(m.MountPath)
	}
	names, paths := sets.Set[string]{}, sets.Set[string]{}
	for i, d := range c.VolumeDevices {
		at := path.Index(i)
		add(meta.Required(at.Child("name"), d.Name)...)
		if names.Has(d.Name) {
			add(field.Invalid(at.Child("name"), d.Name, "must be unique"))
		}
		if volume := s.volumes[d.Name]; volume == nil {
			add(field.NotFound(at.Child("name"), d.Name))
		} else if volume.PersistentVolumeClaim == nil && volume.Ephemeral == nil {
			add(field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		add(meta.Required(at.Child("devicePath"), d.DevicePath)...)
		if paths.Has(d.DevicePath) {
			add(field.Invalid(at.Child("devicePath"), d.DevicePath, "must be unique"))
		}
		if len(noBacksteps(path, d.DevicePath)) > 0 {
			add(field.Invalid(at.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')"))
		} else {
			paths.Insert(d.DevicePath)
		}
		if mounts.Has(d.Name) {
			add(field.Invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		if mountPaths.Has(d.DevicePath) {
			add(field.Invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		if d.Name != "" {
			names.Insert(d.Name)
		}
	}
	return errs
}
