package authz

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const nodeUserPrefix = "system:node:"

// NodeOf is the node whose agent a user is.
func NodeOf(u user.Info) (name string, is bool) {
	if u == nil || !strings.HasPrefix(u.GetName(), nodeUserPrefix) || !slices.Contains(u.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return strings.TrimPrefix(u.GetName(), nodeUserPrefix), true
}

// Node lets a node's agent do what its pods need, and no more: it reads the
// secrets of its own pods, not those of others. What a request alone doesn't
// show, like the name of a new object, admission looks at.
type Node struct {
	Related Related
	rules   []rbacv1.PolicyRule
}

var _ authorizer.Authorizer = (*Node)(nil)

// NewNode looks at what is related to a node through r.
func NewNode(r Related) *Node { return &Node{Related: r, rules: rulesOf("system:node")} }

func rulesOf(role string) []rbacv1.PolicyRule {
	i := slices.IndexFunc(stockRoles, func(r stockRole) bool { return r.name == role })
	return parseRules(stockRoles[i].rules)
}

// ConditionsAwareAuthorize: a node's rights have no conditions.
func (n *Node) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(n.Authorize(ctx, a))
}

// EvaluateConditions is never asked for.
func (*Node) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

func (n *Node) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	name, is := NodeOf(a.GetUser())
	if !is {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if why := n.refuse(ctx, name, a); why != "" {
		return authorizer.DecisionNoOpinion, why, nil
	}
	return authorizer.DecisionAllow, "", nil
}

// refuse says why a node may not; "" if it may.
func (n *Node) refuse(ctx context.Context, node string, a authorizer.Attributes) string {
	if a.IsResourceRequest() {
		if rule, ok := nodeRules[a.GetAPIGroup()+"/"+a.GetResource()]; ok {
			return rule(ctx, n, node, a)
		}
	}
	for i := range n.rules {
		if Allows(&n.rules[i], a) {
			return ""
		}
	}
	return "no rule for nodes allows this"
}

type nodeRule func(ctx context.Context, n *Node, node string, a authorizer.Attributes) string

// nodeRules are of the resources to which a node's access depends on the object.
var nodeRules = map[string]nodeRule{
	"/secrets":                                   readRelated("get", "list", "watch"),
	"/configmaps":                                readRelated("get", "list", "watch"),
	"/persistentvolumeclaims":                    claims,
	"/persistentvolumes":                         readRelated("get"),
	"resource.k8s.io/resourceclaims":             readRelated("get"),
	"storage.k8s.io/volumeattachments":           readRelated("get"),
	"/serviceaccounts":                           serviceAccounts,
	"coordination.k8s.io/leases":                 leases,
	"storage.k8s.io/csinodes":                    csiNodes,
	"resource.k8s.io/resourceslices":             selectedByNode("nodeName", "spec.nodeName", "create", "get", "update", "patch", "delete"),
	"/nodes":                                     ownNode,
	"/pods":                                      ownPods,
	"certificates.k8s.io/podcertificaterequests": selectedByNode("spec.nodeName", "spec.nodeName", "create", "get"),
}

func one(verbs ...string) func(string) bool {
	return func(verb string) bool { return slices.Contains(verbs, verb) }
}

// related: the object is one of the node's own or of its pods'.
func related(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
	if a.GetName() == "" {
		return "No Object name found"
	}
	yes, err := n.Related.Is(ctx, node, a.GetAPIGroup(), a.GetResource(), a.GetNamespace(), a.GetName())
	if err != nil || !yes {
		return fmt.Sprintf("no relationship found between node '%s' and this object", node)
	}
	return ""
}

func readRelated(verbs ...string) nodeRule {
	may := one(verbs...)
	return func(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
		switch {
		case !may(a.GetVerb()):
			return "can only " + strings.Join(verbs, ", ") + " individual resources of this type"
		case a.GetSubresource() != "":
			return "cannot get subresource"
		}
		return related(ctx, n, node, a)
	}
}

func claims(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
	if a.GetSubresource() != "status" {
		return readRelated("get")(ctx, n, node, a)
	}
	if !one("update", "patch")(a.GetVerb()) {
		return "can only get/update/patch this type"
	}
	return related(ctx, n, node, a)
}

func serviceAccounts(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
	if a.GetVerb() == "get" && a.GetSubresource() == "" || a.GetVerb() == "create" && a.GetSubresource() == "token" {
		return related(ctx, n, node, a)
	}
	return "can only get service accounts and create tokens for individual ones"
}

var ownVerbs = one("get", "create", "update", "patch", "delete")

// own: an object of the node's name. At creation the name is not known here yet.
func own(what, node string, a authorizer.Attributes) string {
	if !ownVerbs(a.GetVerb()) {
		return "can only get, create, update, patch, or delete a " + what
	}
	if a.GetVerb() != "create" && a.GetName() != node {
		return "can only access " + what + " with the same name as the requesting node"
	}
	return ""
}

func leases(_ context.Context, _ *Node, node string, a authorizer.Attributes) string {
	if a.GetNamespace() != corev1.NamespaceNodeLease {
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	return own("node lease", node, a)
}

func csiNodes(_ context.Context, _ *Node, node string, a authorizer.Attributes) string {
	if a.GetSubresource() != "" {
		return "cannot authorize CSINode subresources"
	}
	return own("CSINode", node, a)
}

// selectedByNode: several objects only by a field selector that names the node;
// single ones by the verbs given, if they are related.
func selectedByNode(field, also string, verbs ...string) nodeRule {
	single := one(verbs...)
	return func(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
		switch verb := a.GetVerb(); {
		case a.GetSubresource() != "":
			return "nodes may not access subresources of " + a.GetResource()
		case verb == "create" && single(verb):
			return "" // admission looks at the new object
		case single(verb):
			return related(ctx, n, node, a)
		case one("list", "watch", "deletecollection")(verb):
			if selects(a, node, field, also) {
				return ""
			}
			return fmt.Sprintf("can only list/watch/deletecollection %s with nodeName field selector", a.GetResource())
		}
		return fmt.Sprintf("nodes may not %s %s", a.GetVerb(), a.GetResource())
	}
}

func selects(a authorizer.Attributes, node string, fields ...string) bool {
	requirements, err := a.GetFieldSelector()
	if err != nil {
		return false
	}
	for _, r := range requirements {
		if slices.Contains(fields, r.Field) && r.Operator == selection.Equals && r.Value == node {
			return true
		}
	}
	return false
}

// ownNode: that a node changes no other is for admission to see.
func ownNode(_ context.Context, _ *Node, node string, a authorizer.Attributes) string {
	switch verb := a.GetVerb(); a.GetSubresource() {
	case "":
		if one("create", "update", "patch")(verb) {
			return ""
		}
		if one("get", "list", "watch")(verb) {
			switch a.GetName() {
			case node:
				return ""
			case "":
				return fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", node)
			}
			return fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", node, a.GetName())
		}
	case "status":
		if one("update", "patch")(verb) {
			return ""
		}
	}
	return "nodes may not do this to nodes"
}

// ownPods: mirror pods may be made and deleted; admission sees to it that the
// node's alone are.
func ownPods(ctx context.Context, n *Node, node string, a authorizer.Attributes) string {
	verb := a.GetVerb()
	switch a.GetSubresource() {
	case "":
		switch {
		case verb == "create", verb == "delete":
			return ""
		case one("list", "watch")(verb) && selects(a, node, "spec.nodeName"):
			return ""
		case one("list", "watch")(verb) && a.GetName() == "":
			return "can only list/watch pods with spec.nodeName field selector"
		case one("get", "list", "watch")(verb):
			return related(ctx, n, node, a)
		}
	case "status":
		if one("update", "patch")(verb) {
			return ""
		}
	case "eviction":
		if verb == "create" {
			return ""
		}
	}
	return "nodes may not do this to pods"
}
