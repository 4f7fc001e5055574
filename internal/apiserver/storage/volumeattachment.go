package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func volumeAttachments() resource.Resource {
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "volumeattachments",
		Singular:     "volumeattachment",
		Kind:         "VolumeAttachment",
		New:          func() runtime.Object { return &storagev1.VolumeAttachment{} },
		NewList:      func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
		Update: resource.Update{
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}},
		},
	}
}
