package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func deviceClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "deviceclasses",
		Singular:     "deviceclass",
		Kind:         "DeviceClass",
		New:          func() runtime.Object { return &resourcev1.DeviceClass{} },
		NewList:      func() runtime.Object { return &resourcev1.DeviceClassList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
