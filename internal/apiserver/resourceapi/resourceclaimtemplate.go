package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func resourceClaimTemplates() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceclaimtemplates",
		Singular:     "resourceclaimtemplate",
		Kind:         "ResourceClaimTemplate",
		Namespaced:   true,
		New:          func() runtime.Object { return &resourcev1.ResourceClaimTemplate{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceClaimTemplateList{} },
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
