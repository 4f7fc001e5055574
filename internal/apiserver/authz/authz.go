package authz

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	"k8s.io/apiserver/pkg/authorization/union"
)

// New returns the authorizer of all requests: superusers, then what everybody
// may ask, then nodes' agents, then roles.
func New(node *Node, rbac *RBAC) (authorizer.Authorizer, error) {
	public, err := path.NewAuthorizer([]string{"/healthz", "/livez", "/readyz", "/version"})
	if err != nil {
		return nil, err
	}
	return union.New(
		union.NamedAuthorizer{AuthorizerName: "privileged", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		union.NamedAuthorizer{AuthorizerName: "public", Authorizer: public},
		union.NamedAuthorizer{AuthorizerName: "Node", Authorizer: node},
		union.NamedAuthorizer{AuthorizerName: "RBAC", Authorizer: rbac},
	)
}
