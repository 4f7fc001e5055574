package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func resourceSlices() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceslices",
		Singular:     "resourceslice",
		Kind:         "ResourceSlice",
		New:          func() runtime.Object { return &resourcev1.ResourceSlice{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceSliceList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
