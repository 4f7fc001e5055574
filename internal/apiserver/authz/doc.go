// Package authz says who may do what: role-based access control from the API's
// own Role, ClusterRole and binding objects; nodes' agents by what is on their node.
package authz
