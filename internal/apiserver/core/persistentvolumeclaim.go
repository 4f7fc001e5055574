package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func persistentVolumeClaims() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "persistentvolumeclaims",
		Singular:     "persistentvolumeclaim",
		Kind:         "PersistentVolumeClaim",
		ShortNames:   []string{"pvc"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
		NewList:      func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
