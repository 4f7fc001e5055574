package podspec

import (
	v1 "k8s.io/api/core/v1"
)

// DropUnserved clears the fields of features that v1.37 ships switched off, so
// that nobody relies on what is not done; the API drops them silently, as unknown
// fields are. It belongs to the preparation of everything with a pod spec, before
// creation and before an update.
//
// One field of the kind stays: lifecycle.stopSignal, because our node agent honours it.
func DropUnserved(spec *v1.PodSpec, annotations map[string]string) {
	spec.SchedulingGroup = nil
	spec.EvictionResponders = nil
	for c := range All(spec) {
		for _, p := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			dropProbeFields(p)
		}
		if c.Lifecycle != nil {
			for _, h := range []*v1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
				if h != nil && h.HTTPGet != nil {
					h.HTTPGet.Protocol = nil
				}
			}
		}
		for i := range c.VolumeMounts {
			c.VolumeMounts[i].BindMountOptions = nil
		}
	}
	for i := range spec.Volumes {
		dropVolumeFields(&spec.Volumes[i])
	}
	for _, key := range initContainerAnnotations {
		delete(annotations, key)
	}
}

// DropUnservedInTemplate is DropUnserved for a template.
func DropUnservedInTemplate(template *v1.PodTemplateSpec) {
	DropUnserved(&template.Spec, template.Annotations)
}

// initContainerAnnotations held init containers before they were a field.
var initContainerAnnotations = []string{
	"pod.beta.kubernetes.io/init-containers",
	"pod.alpha.kubernetes.io/init-containers",
	"pod.beta.kubernetes.io/init-container-statuses",
	"pod.alpha.kubernetes.io/init-container-statuses",
}

func dropProbeFields(p *v1.Probe) {
	if p == nil {
		return
	}
	if p.HTTPGet != nil {
		p.HTTPGet.Protocol = nil
	}
	if p.GRPC != nil {
		p.GRPC.Mode = nil
	}
}

func dropVolumeFields(v *v1.Volume) {
	if v.EmptyDir != nil {
		v.EmptyDir.Mode = nil
	}
	if v.Secret != nil {
		v.Secret.DefaultUser = nil
		dropUsers(v.Secret.Items)
	}
	if v.ConfigMap != nil {
		v.ConfigMap.DefaultUser = nil
		dropUsers(v.ConfigMap.Items)
	}
	if v.DownwardAPI != nil {
		v.DownwardAPI.DefaultUser = nil
		dropFileUsers(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		v.Projected.DefaultUser = nil
		for i := range v.Projected.Sources {
			dropSourceUsers(&v.Projected.Sources[i])
		}
	}
}

func dropSourceUsers(s *v1.VolumeProjection) {
	if s.Secret != nil {
		dropUsers(s.Secret.Items)
	}
	if s.ConfigMap != nil {
		dropUsers(s.ConfigMap.Items)
	}
	if s.DownwardAPI != nil {
		dropFileUsers(s.DownwardAPI.Items)
	}
	if s.ServiceAccountToken != nil {
		s.ServiceAccountToken.User = nil
	}
	if s.ClusterTrustBundle != nil {
		s.ClusterTrustBundle.User = nil
	}
	if s.PodCertificate != nil {
		s.PodCertificate.User = nil
	}
}

func dropUsers(items []v1.KeyToPath) {
	for i := range items {
		items[i].User = nil
	}
}

func dropFileUsers(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		items[i].User = nil
	}
}
