package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func networkPolicies() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "networkpolicies",
		Singular:     "networkpolicy",
		Kind:         "NetworkPolicy",
		ShortNames:   []string{"netpol"},
		Namespaced:   true,
		New:          func() runtime.Object { return &networkingv1.NetworkPolicy{} },
		NewList:      func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
