package volume

import (
	v1 "k8s.io/api/core/v1"
)

// Kind is a kind of API object that volumes are made of.
type Kind string

// The kinds of objects.
const (
	ConfigMap          Kind = "configmap"
	Secret             Kind = "secret"
	ClusterTrustBundle Kind = "clustertrustbundle"
	// SignerBundles are all ClusterTrustBundles of the signer that Ref.Name names.
	SignerBundles Kind = "signer"
)

// Ref names one object; Namespace is empty for cluster-wide kinds.
type Ref struct {
	Kind            Kind
	Namespace, Name string
}

// usedVolumes are the volumes that a container mounts; upstream ignores the others too, so that a missing ConfigMap that nobody
// mounts holds no pod up.
func usedVolumes(pod *v1.Pod) []*v1.Volume {
	used := map[string]bool{}
	for _, c := range allContainers(pod) {
		for _, mount := range c.VolumeMounts {
			used[mount.Name] = true
		}
		for _, device := range c.VolumeDevices {
			used[device.Name] = true
		}
		for _, env := range c.Env {
			if env.ValueFrom != nil && env.ValueFrom.FileKeyRef != nil {
				used[env.ValueFrom.FileKeyRef.VolumeName] = true
			}
		}
	}
	var out []*v1.Volume
	for i := range pod.Spec.Volumes {
		if used[pod.Spec.Volumes[i].Name] {
			out = append(out, &pod.Spec.Volumes[i])
		}
	}
	return out
}

// Needs lists, each once, the objects that the pod's volumes are made of: what may not be missing or change unseen.
func Needs(pod *v1.Pod) []Ref {
	var refs []Ref
	seen := map[Ref]bool{}
	add := func(kind Kind, namespace, name string) {
		ref := Ref{kind, namespace, name}
		if name != "" && !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	for _, vol := range usedVolumes(pod) {
		source := &vol.VolumeSource
		switch {
		case source.ConfigMap != nil:
			add(ConfigMap, pod.Namespace, source.ConfigMap.Name)
		case source.Secret != nil:
			add(Secret, pod.Namespace, source.Secret.SecretName)
		case source.Projected != nil:
			for _, part := range source.Projected.Sources {
				switch {
				case part.ConfigMap != nil:
					add(ConfigMap, pod.Namespace, part.ConfigMap.Name)
				case part.Secret != nil:
					add(Secret, pod.Namespace, part.Secret.Name)
				case part.ClusterTrustBundle != nil && part.ClusterTrustBundle.Name != nil:
					add(ClusterTrustBundle, "", *part.ClusterTrustBundle.Name)
				case part.ClusterTrustBundle != nil && part.ClusterTrustBundle.SignerName != nil:
					add(SignerBundles, "", *part.ClusterTrustBundle.SignerName)
				}
			}
		}
	}
	return refs
}
