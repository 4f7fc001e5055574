package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A Role allows verbs on resources within its namespace.
func roles() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "roles",
		Singular:     "role",
		Kind:         "Role",
		Namespaced:   true,
		New:          func() runtime.Object { return &rbacv1.Role{} },
		NewList:      func() runtime.Object { return &rbacv1.RoleList{} },
		Check:        meta.Check(checkRole),
		CheckName:    checkName,
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(func(r, _ *rbacv1.Role) field.ErrorList { return checkRole(r) }),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: meta.PlainColumns(),
		Row:     meta.Row(func(r *rbacv1.Role, _ metav1.Time) []any { return meta.PlainRow(r) }),
	}
}

func checkRole(r *rbacv1.Role) field.ErrorList { return checkRules(r.Rules, true) }
