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

// A ClusterRoleBinding gives a role, for the whole cluster, to its subjects.
func clusterRoleBindings() resource.Resource {
	return resource.Resource{
		GroupVersion: rbacv1.SchemeGroupVersion,
		Name:         "clusterrolebindings",
		Singular:     "clusterrolebinding",
		Kind:         "ClusterRoleBinding",
		New:          func() runtime.Object { return &rbacv1.ClusterRoleBinding{} },
		NewList:      func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
		Default:      meta.Default(func(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
		Check:        meta.Check(checkClusterRoleBinding),
		CheckName:    checkName,
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(checkClusterRoleBindingUpdate),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Columns: bindingColumns("clusterRoleBinding", rbacv1beta1.ClusterRoleBinding{}.SwaggerDoc()["roleRef"]),
		Row: meta.Row(func(b *rbacv1.ClusterRoleBinding, now metav1.Time) []any {
			return bindingRow(b.ObjectMeta, b.RoleRef, b.Subjects, now)
		}),
	}
}

func checkClusterRoleBinding(b *rbacv1.ClusterRoleBinding) field.ErrorList {
	return append(checkRoleRef(b.RoleRef, "ClusterRole"), checkSubjects(b.Subjects, false)...)
}

func checkClusterRoleBindingUpdate(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
	return append(checkClusterRoleBinding(b), checkSameRole(b.RoleRef, old.RoleRef)...)
}
