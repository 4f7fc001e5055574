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
)

// Ref names one object; Namespace is empty for cluster-wide kinds.
type Ref struct {
	Kind            Kind
	Namespace, Name string
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
	for i := range pod.Spec.Volumes {
		source := &pod.Spec.Volumes[i].VolumeSource
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
				}
			}
		}
	}
	return refs
}
