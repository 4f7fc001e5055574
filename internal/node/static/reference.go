package static

import v1 "k8s.io/api/core/v1"

// reference names a kind of API object that the pod refers to, or nothing: without an API server such a pod could not run.
func reference(pod *v1.Pod) string {
	switch {
	case pod.Spec.ServiceAccountName != "":
		return "serviceaccounts"
	case len(pod.Spec.ImagePullSecrets) > 0:
		return "secrets"
	case len(pod.Spec.ResourceClaims) > 0:
		return "resourceclaims"
	}
	for _, c := range containers(pod) {
		if kind := environmentReference(c); kind != "" {
			return kind
		}
	}
	for i := range pod.Spec.Volumes {
		if kind := volumeReference(&pod.Spec.Volumes[i]); kind != "" {
			return kind
		}
	}
	return ""
}

func containers(pod *v1.Pod) []*v1.Container {
	var out []*v1.Container
	for i := range pod.Spec.InitContainers {
		out = append(out, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		out = append(out, &pod.Spec.Containers[i])
	}
	return out
}

func environmentReference(c *v1.Container) string {
	for _, from := range c.EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			return "configmaps"
		case from.SecretRef != nil:
			return "secrets"
		}
	}
	for _, env := range c.Env {
		switch from := env.ValueFrom; {
		case from == nil:
		case from.ConfigMapKeyRef != nil:
			return "configmaps"
		case from.SecretKeyRef != nil:
			return "secrets"
		}
	}
	return ""
}

func volumeReference(vol *v1.Volume) string {
	switch {
	case vol.ConfigMap != nil:
		return "configmaps (via configmap volumes)"
	case vol.Secret != nil:
		return "secrets (via secret volumes)"
	case vol.CSI != nil:
		return "csidrivers (via CSI volumes)"
	case vol.PersistentVolumeClaim != nil:
		return "persistentvolumeclaims"
	case vol.Ephemeral != nil:
		return "persistentvolumeclaims (via ephemeral volumes)"
	case vol.AzureFile != nil:
		return "secrets (via azureFile volumes)"
	case vol.Projected != nil:
		for i := range vol.Projected.Sources {
			if kind := projectionReference(&vol.Projected.Sources[i]); kind != "" {
				return kind
			}
		}
	}
	return ""
}

func projectionReference(source *v1.VolumeProjection) string {
	switch {
	case source.ConfigMap != nil:
		return "configmaps (via projected volumes)"
	case source.Secret != nil:
		return "secrets (via projected volumes)"
	case source.ServiceAccountToken != nil:
		return "serviceaccounts (via projected volumes)"
	case source.ClusterTrustBundle != nil:
		return "clustertrustbundles"
	case source.PodCertificate != nil:
		return "podcertificates"
	}
	return ""
}
