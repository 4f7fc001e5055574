package authz

import (
	"context"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// Related finds what belongs to a node: its pods, and what they refer to.
// Nothing is kept for that; the objects are few and in memory.
type Related struct {
	Pods         func(ctx context.Context, node string) ([]*corev1.Pod, error)
	Claim        func(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	Volume       func(ctx context.Context, name string) (*corev1.PersistentVolume, error)
	Attachment   func(ctx context.Context, name string) (*storagev1.VolumeAttachment, error)
	Slice        func(ctx context.Context, name string) (*resourcev1.ResourceSlice, error)
	Certificates func(ctx context.Context, namespace, name string) (*certificatesv1.PodCertificateRequest, error)
}

// Is says that an object belongs to a node.
func (r Related) Is(ctx context.Context, node, group, resource, namespace, name string) (bool, error) {
	switch group + "/" + resource {
	case "storage.k8s.io/volumeattachments":
		o, err := r.Attachment(ctx, name)
		return err == nil && o.Spec.NodeName == node, err
	case "resource.k8s.io/resourceslices":
		o, err := r.Slice(ctx, name)
		return err == nil && o.Spec.NodeName != nil && *o.Spec.NodeName == node, err
	case "certificates.k8s.io/podcertificaterequests":
		o, err := r.Certificates(ctx, namespace, name)
		return err == nil && string(o.Spec.NodeName) == node, err
	}
	pods, err := r.Pods(ctx, node)
	if err != nil {
		return false, err
	}
	for _, p := range pods {
		if resource == "pods" && p.Namespace == namespace && p.Name == name {
			return true, nil
		}
		// A node makes its mirror pods itself: they must open no doors to it.
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			continue
		}
		if r.refers(ctx, p, resource, namespace, name) {
			return true, nil
		}
	}
	return false, nil
}

// refers: a pod names the object, or its volumes do.
func (r Related) refers(ctx context.Context, p *corev1.Pod, resource, namespace, name string) bool {
	if resource != "persistentvolumes" && resource != "secrets" && p.Namespace != namespace {
		return false
	}
	switch resource {
	case "configmaps":
		return slices.Contains(configMapsOf(p), name)
	case "serviceaccounts":
		return p.Spec.ServiceAccountName == name
	case "persistentvolumeclaims":
		return slices.Contains(claimsOf(p), name)
	case "resourceclaims":
		return slices.Contains(resourceClaimsOf(p), name)
	case "secrets":
		if p.Namespace == namespace && slices.Contains(secretsOf(p), name) {
			return true
		}
	}
	for _, claim := range claimsOf(p) {
		c, err := r.Claim(ctx, p.Namespace, claim)
		if err != nil || c.Spec.VolumeName == "" {
			continue
		}
		if resource == "persistentvolumes" {
			if c.Spec.VolumeName == name {
				return true
			}
			continue
		}
		v, err := r.Volume(ctx, c.Spec.VolumeName)
		if err == nil && v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Namespace == p.Namespace && v.Spec.ClaimRef.Name == claim && slices.Contains(secretsOfVolume(v), secret{namespace, name}) {
			return true
		}
	}
	return false
}

func claimsOf(p *corev1.Pod) (names []string) {
	for _, v := range p.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, p.Name+"-"+v.Name)
		}
	}
	return names
}

func resourceClaimsOf(p *corev1.Pod) (names []string) {
	for _, c := range p.Spec.ResourceClaims {
		if c.ResourceClaimName != nil {
			names = append(names, *c.ResourceClaimName)
		}
	}
	for _, c := range p.Status.ResourceClaimStatuses {
		if c.ResourceClaimName != nil {
			names = append(names, *c.ResourceClaimName)
		}
	}
	if c := p.Status.ExtendedResourceClaimStatus; c != nil {
		names = append(names, c.ResourceClaimName)
	}
	return names
}

// environments of all containers.
func environments(p *corev1.Pod, visit func([]corev1.EnvVar, []corev1.EnvFromSource)) {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			visit(list[i].Env, list[i].EnvFrom)
		}
	}
	for i := range p.Spec.EphemeralContainers {
		visit(p.Spec.EphemeralContainers[i].Env, p.Spec.EphemeralContainers[i].EnvFrom)
	}
}

func configMapsOf(p *corev1.Pod) (names []string) {
	environments(p, func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
				names = append(names, e.ValueFrom.ConfigMapKeyRef.Name)
			}
		}
		for _, f := range from {
			if f.ConfigMapRef != nil {
				names = append(names, f.ConfigMapRef.Name)
			}
		}
	})
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap != nil {
			names = append(names, v.ConfigMap.Name)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					names = append(names, s.ConfigMap.Name)
				}
			}
		}
	}
	return names
}

func secretsOf(p *corev1.Pod) (names []string) {
	for _, s := range p.Spec.ImagePullSecrets {
		names = append(names, s.Name)
	}
	environments(p, func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				names = append(names, e.ValueFrom.SecretKeyRef.Name)
			}
		}
		for _, f := range from {
			if f.SecretRef != nil {
				names = append(names, f.SecretRef.Name)
			}
		}
	})
	for i := range p.Spec.Volumes {
		names = append(names, secretsOfSource(&p.Spec.Volumes[i].VolumeSource)...)
	}
	return names
}

func secretsOfSource(v *corev1.VolumeSource) (names []string) {
	add := func(ref *corev1.LocalObjectReference) {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	switch {
	case v.Secret != nil:
		names = append(names, v.Secret.SecretName)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				names = append(names, s.Secret.Name)
			}
		}
	case v.CSI != nil:
		add(v.CSI.NodePublishSecretRef)
	case v.ISCSI != nil:
		add(v.ISCSI.SecretRef)
	case v.FlexVolume != nil:
		add(v.FlexVolume.SecretRef)
	}
	return names
}

type secret struct{ namespace, name string }

func secretsOfVolume(v *corev1.PersistentVolume) (refs []secret) {
	add := func(ref *corev1.SecretReference) {
		if ref == nil {
			return
		}
		namespace := ref.Namespace
		if namespace == "" && v.Spec.ClaimRef != nil {
			namespace = v.Spec.ClaimRef.Namespace
		}
		refs = append(refs, secret{namespace, ref.Name})
	}
	switch {
	case v.Spec.CSI != nil:
		add(v.Spec.CSI.NodePublishSecretRef)
		add(v.Spec.CSI.NodeStageSecretRef)
		add(v.Spec.CSI.NodeExpandSecretRef)
	case v.Spec.ISCSI != nil:
		add(v.Spec.ISCSI.SecretRef)
	case v.Spec.FlexVolume != nil:
		add(v.Spec.FlexVolume.SecretRef)
	}
	return refs
}
