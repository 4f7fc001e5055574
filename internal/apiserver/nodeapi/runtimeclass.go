package nodeapi

import (
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func runtimeClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: nodev1.SchemeGroupVersion,
		Name:         "runtimeclasses",
		Singular:     "runtimeclass",
		Kind:         "RuntimeClass",
		New:          func() runtime.Object { return &nodev1.RuntimeClass{} },
		NewList:      func() runtime.Object { return &nodev1.RuntimeClassList{} },
		Update: resource.Update{
			CreateOnUpdate: true,
		},
	}
}
