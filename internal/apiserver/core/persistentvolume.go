package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func persistentVolumes() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "persistentvolumes",
		Singular:     "persistentvolume",
		Kind:         "PersistentVolume",
		ShortNames:   []string{"pv"},
		New:          func() runtime.Object { return &corev1.PersistentVolume{} },
		NewList:      func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
