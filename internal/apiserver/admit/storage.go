package admit

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

const (
	defaultStorageAnnotation = "storageclass.kubernetes.io/is-default-class"
	oldStorageAnnotation     = "storageclass.beta.kubernetes.io/is-default-class"
	claimProtection          = "kubernetes.io/pvc-protection"
	volumeProtection         = "kubernetes.io/pv-protection"
)

// DefaultStorageClass fills in the class of a claim that names none.
func DefaultStorageClass(list func(context.Context) ([]*storagev1.StorageClass, error)) admission.Interface {
	return Plugin[*corev1.PersistentVolumeClaim]{Name: "DefaultStorageClass", Resource: claims, Operations: onCreate,
		Mutate: func(ctx context.Context, r Request[*corev1.PersistentVolumeClaim]) error {
			if _, ok := r.Object.Annotations[corev1.BetaStorageClassAnnotation]; ok || r.Object.Spec.StorageClassName != nil {
				return nil
			}
			classes, err := list(ctx)
			if err != nil {
				return admission.NewForbidden(r, err)
			}
			if d := newestDefault(classes); d != nil {
				r.Object.Spec.StorageClassName = &d.Name
			}
			return nil
		}}
}

// newestDefault: of several default classes the newest, then the first by name.
func newestDefault(classes []*storagev1.StorageClass) (d *storagev1.StorageClass) {
	for _, c := range classes {
		if c.Annotations[defaultStorageAnnotation] != "true" && c.Annotations[oldStorageAnnotation] != "true" {
			continue
		}
		switch {
		case d == nil, d.CreationTimestamp.Before(&c.CreationTimestamp):
			d = c
		case d.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < d.Name:
			d = c
		}
	}
	return d
}

// ProtectClaims and ProtectVolumes hold what is in use by a finalizer.
func ProtectClaims() admission.Interface {
	return Plugin[*corev1.PersistentVolumeClaim]{Name: "StorageObjectInUseProtection", Resource: claims, Operations: onCreate,
		Mutate: func(_ context.Context, r Request[*corev1.PersistentVolumeClaim]) error {
			addFinalizer(&r.Object.Finalizers, claimProtection)
			return nil
		}}
}

func ProtectVolumes() admission.Interface {
	return Plugin[*corev1.PersistentVolume]{Name: "StorageObjectInUseProtection", Resource: schema.GroupResource{Resource: "persistentvolumes"}, Operations: onCreate,
		Mutate: func(_ context.Context, r Request[*corev1.PersistentVolume]) error {
			addFinalizer(&r.Object.Finalizers, volumeProtection)
			return nil
		}}
}

func addFinalizer(list *[]string, name string) {
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// ClaimResize lets a bound claim grow only if its class allows it.
func ClaimResize(get func(ctx context.Context, name string) (*storagev1.StorageClass, error)) admission.Interface {
	return Plugin[*corev1.PersistentVolumeClaim]{Name: "PersistentVolumeClaimResize", Resource: claims, Operations: []admission.Operation{admission.Update},
		Check: func(ctx context.Context, r Request[*corev1.PersistentVolumeClaim]) error {
			if r.Old == nil {
				return nil
			}
			old, size := r.Old.Spec.Resources.Requests[corev1.ResourceStorage], r.Object.Spec.Resources.Requests[corev1.ResourceStorage]
			if size.Cmp(old) <= 0 {
				return nil
			}
			if r.Old.Status.Phase != corev1.ClaimBound {
				return admission.NewForbidden(r, fmt.Errorf("Only bound persistent volume claims can be expanded")) //nolint:staticcheck // the API's wording
			}
			name := ""
			if r.Object.Spec.StorageClassName != nil {
				name = *r.Object.Spec.StorageClassName
			}
			class, err := get(ctx, name)
			if name == "" || err != nil || class.AllowVolumeExpansion == nil || !*class.AllowVolumeExpansion {
				return admission.NewForbidden(r, fmt.Errorf("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
			}
			return nil
		}}
}

// DefaultIngressClass fills in the class of an ingress that names none.
func DefaultIngressClass(list func(context.Context) ([]*networkingv1.IngressClass, error)) admission.Interface {
	return Plugin[*networkingv1.Ingress]{Name: "DefaultIngressClass", Operations: onCreate,
		Resource: schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"},
		Mutate: func(ctx context.Context, r Request[*networkingv1.Ingress]) error {
			if _, ok := r.Object.Annotations[networkingv1beta1Annotation]; ok || r.Object.Spec.IngressClassName != nil {
				return nil
			}
			classes, err := list(ctx)
			if err != nil {
				return admission.NewForbidden(r, err)
			}
			var d *networkingv1.IngressClass
			for _, c := range classes {
				if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
					continue
				}
				if d == nil || d.CreationTimestamp.Before(&c.CreationTimestamp) || d.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < d.Name {
					d = c
				}
			}
			if d != nil {
				r.Object.Spec.IngressClassName = &d.Name
			}
			return nil
		}}
}

const networkingv1beta1Annotation = "kubernetes.io/ingress.class"
