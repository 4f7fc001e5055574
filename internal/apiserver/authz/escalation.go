package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// Guard keeps users from granting what they don't have: who writes a role or
// binds one must hold all of its rules, or the right to "escalate" or "bind".
type Guard struct {
	RBAC       *RBAC
	Authorizer authorizer.UnconditionalAuthorizer
}

var (
	_ genericregistry.BeginCreateFunc = Guard{}.BeginCreate
	_ genericregistry.BeginUpdateFunc = Guard{}.BeginUpdate
)

func (g Guard) BeginCreate(ctx context.Context, obj runtime.Object, _ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	return done, g.check(ctx, obj, nil)
}

func (g Guard) BeginUpdate(ctx context.Context, obj, old runtime.Object, _ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	return done, g.check(ctx, obj, old)
}

func done(context.Context, bool) {}

func (g Guard) check(ctx context.Context, obj, old runtime.Object) error {
	u, ok := request.UserFrom(ctx)
	if !ok || slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup) {
		return nil // the server itself, or who may do everything
	}
	if old != nil && onlyForCollection(obj, old) {
		return nil
	}
	switch o := obj.(type) {
	case *rbacv1.Role:
		return g.role(ctx, u, "roles", o, o.Rules, false)
	case *rbacv1.ClusterRole:
		before, _ := old.(*rbacv1.ClusterRole)
		return g.role(ctx, u, "clusterroles", o, o.Rules, o.AggregationRule != nil || before != nil && before.AggregationRule != nil)
	case *rbacv1.RoleBinding:
		return g.binding(ctx, u, "rolebindings", o, o.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		return g.binding(ctx, u, "clusterrolebindings", o, o.RoleRef)
	}
	return nil
}

// onlyForCollection: the garbage collector changes owners and finalizers of
// objects whose powers it doesn't have.
func onlyForCollection(obj, old runtime.Object) bool {
	a, b := obj.DeepCopyObject(), old.DeepCopyObject()
	for _, o := range []runtime.Object{a, b} {
		m, ok := o.(metav1.Object)
		if !ok {
			return false
		}
		m.SetOwnerReferences(nil)
		m.SetFinalizers(nil)
		m.SetManagedFields(nil)
		m.SetResourceVersion("")
		o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return equality.Semantic.DeepEqual(a, b)
}

func (g Guard) role(ctx context.Context, u user.Info, resource string, obj metav1.Object, rules []rbacv1.PolicyRule, aggregates bool) error {
	if g.may(ctx, u, "escalate", resource, obj.GetNamespace(), obj.GetName()) {
		return nil
	}
	if err := g.holds(u, obj.GetNamespace(), rules); err != nil {
		return forbidden(resource, obj.GetName(), err)
	}
	if aggregates && g.holds(u, "", everything) != nil {
		return forbidden(resource, obj.GetName(), errors.New("must have cluster-admin privileges to use the aggregationRule"))
	}
	return nil
}

func (g Guard) binding(ctx context.Context, u user.Info, resource string, obj metav1.Object, ref rbacv1.RoleRef) error {
	of := map[string]string{"Role": "roles", "ClusterRole": "clusterroles"}[ref.Kind]
	if of == "" || g.may(ctx, u, "bind", of, obj.GetNamespace(), ref.Name) {
		return nil // another kind is for validation to refuse
	}
	rules, err := g.RBAC.RulesOf(ref, obj.GetNamespace())
	if err != nil {
		return err
	}
	if err := g.holds(u, obj.GetNamespace(), rules); err != nil {
		return forbidden(resource, obj.GetName(), err)
	}
	return nil
}

func (g Guard) may(ctx context.Context, u user.Info, verb, resource, namespace, name string) bool {
	decision, _, _ := g.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: u, Verb: verb, APIGroup: rbacv1.GroupName, APIVersion: "*", Resource: resource,
		Namespace: namespace, Name: name, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow
}

var everything = parseRules([]string{`* | * | *`, `* | *`})

// holds tells which of the rules u doesn't have itself.
func (g Guard) holds(u user.Info, namespace string, rules []rbacv1.PolicyRule) error {
	own, err := g.RBAC.Rules(u, namespace)
	ok, missing := validation.Covers(own, rules)
	if ok {
		return nil
	}
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		u.GetName(), u.GetGroups(), strings.Join(compact(missing), "\n"))
	if err != nil {
		text += fmt.Sprintf("; resolution errors: %v", err)
	}
	return errors.New(text)
}

// compact writes broken-down rules as lines, those that differ only in their verb as one.
func compact(rules []rbacv1.PolicyRule) []string {
	verbs, order := map[string][]string{}, []string{}
	for _, r := range rules {
		var parts []string
		add := func(name string, list []string) {
			if len(list) > 0 {
				parts = append(parts, fmt.Sprintf("%s:%s", name, quoted(list)))
			}
		}
		add("APIGroups", r.APIGroups)
		add("Resources", r.Resources)
		add("NonResourceURLs", r.NonResourceURLs)
		add("ResourceNames", r.ResourceNames)
		key := strings.Join(parts, ", ")
		if _, ok := verbs[key]; !ok {
			order = append(order, key)
		}
		verbs[key] = append(verbs[key], r.Verbs...)
	}
	slices.Sort(order)
	lines := make([]string, len(order))
	for i, key := range order {
		lines[i] = fmt.Sprintf("{%s, Verbs:%s}", key, quoted(verbs[key]))
	}
	return lines
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(out, " ") + "]"
}

func forbidden(resource, name string, err error) error {
	return apierrors.NewForbidden(schema.GroupResource{Group: rbacv1.GroupName, Resource: resource}, name, err)
}
