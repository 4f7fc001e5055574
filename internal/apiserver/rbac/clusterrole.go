package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func clusterRoles() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "clusterroles",
		Singular:     "clusterrole",
		Kind:         "ClusterRole",
		New:          func() runtime.Object { return &rbacv1.ClusterRole{} },
		NewList:      func() runtime.Object { return &rbacv1.ClusterRoleList{} },
		Update: resource.Update{
			Unconditional:  true,
			CreateOnUpdate: true,
		},
	}
}
