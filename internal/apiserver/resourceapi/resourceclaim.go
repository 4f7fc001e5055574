package resourceapi

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func resourceClaims() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceclaims",
		Singular:     "resourceclaim",
		Kind:         "ResourceClaim",
		Namespaced:   true,
		New:          func() runtime.Object { return &resourcev1.ResourceClaim{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceClaimList{} },
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
