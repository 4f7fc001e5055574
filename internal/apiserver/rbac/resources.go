// Package rbac describes rbac.authorization.k8s.io: roles and who has them.
package rbac

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		roles(),
		roleBindings(),
		clusterRoles(),
		clusterRoleBindings(),
	}
}
