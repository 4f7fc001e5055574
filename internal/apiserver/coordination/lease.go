package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func leases() resource.Resource {
	return resource.Resource{
		GroupVersion: coordinationv1.SchemeGroupVersion,
		Name:         "leases",
		Singular:     "lease",
		Kind:         "Lease",
		Namespaced:   true,
		New:          func() runtime.Object { return &coordinationv1.Lease{} },
		NewList:      func() runtime.Object { return &coordinationv1.LeaseList{} },
		Update: resource.Update{
			CreateOnUpdate: true,
		},
	}
}
