package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func roles() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "roles",
		Singular:     "role",
		Kind:         "Role",
		Namespaced:   true,
		New:          func() runtime.Object { return &rbacv1.Role{} },
		NewList:      func() runtime.Object { return &rbacv1.RoleList{} },
		Update: resource.Update{
			Unconditional:  true,
			CreateOnUpdate: true,
		},
	}
}
