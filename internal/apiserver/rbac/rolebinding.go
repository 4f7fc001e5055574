package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func roleBindings() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "rolebindings",
		Singular:     "rolebinding",
		Kind:         "RoleBinding",
		Namespaced:   true,
		New:          func() runtime.Object { return &rbacv1.RoleBinding{} },
		NewList:      func() runtime.Object { return &rbacv1.RoleBindingList{} },
		Update: resource.Update{
			Unconditional:  true,
			CreateOnUpdate: true,
		},
	}
}
