package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func volumeAttributesClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "volumeattributesclasses",
		Singular:     "volumeattributesclass",
		Kind:         "VolumeAttributesClass",
		ShortNames:   []string{"vac"},
		New:          func() runtime.Object { return &storagev1.VolumeAttributesClass{} },
		NewList:      func() runtime.Object { return &storagev1.VolumeAttributesClassList{} },
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
