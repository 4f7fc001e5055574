package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func ingresses() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "ingresses",
		Singular:     "ingress",
		Kind:         "Ingress",
		ShortNames:   []string{"ing"},
		Namespaced:   true,
		New:          func() runtime.Object { return &networkingv1.Ingress{} },
		NewList:      func() runtime.Object { return &networkingv1.IngressList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
