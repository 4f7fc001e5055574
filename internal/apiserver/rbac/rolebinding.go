package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	rbacv1beta1 "k8s.io/api/rbac/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A RoleBinding gives a role, for one namespace, to its subjects.
func roleBindings() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "rolebindings",
		Singular:     "rolebinding",
		Kind:         "RoleBinding",
		Namespaced:   true,
		New:          func() runtime.Object { return &rbacv1.RoleBinding{} },
		NewList:      func() runtime.Object { return &rbacv1.RoleBindingList{} },
		Default:      meta.Default(func(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
		Check:        meta.Check(checkRoleBinding),
		CheckName:    checkName,
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(checkRoleBindingUpdate),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: bindingColumns("roleBinding", rbacv1beta1.RoleBinding{}.SwaggerDoc()["roleRef"]),
		Row: meta.Row(func(b *rbacv1.RoleBinding, now metav1.Time) []any {
			return bindingRow(b.ObjectMeta, b.RoleRef, b.Subjects, now)
		}),
	}
}

func checkRoleBinding(b *rbacv1.RoleBinding) field.ErrorList {
	return append(checkRoleRef(b.RoleRef, "Role", "ClusterRole"), checkSubjects(b.Subjects, true)...)
}

func checkRoleBindingUpdate(b, old *rbacv1.RoleBinding) field.ErrorList {
	return append(checkRoleBinding(b), checkSameRole(b.RoleRef, old.RoleRef)...)
}
