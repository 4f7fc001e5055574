package authz

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/component-helpers/auth/rbac/validation"
)

func TestAllows(t *testing.T) {
	rule := func(line string) *rbacv1.PolicyRule { return &parseRules([]string{line})[0] }
	resource := func(verb, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
	}
	path := func(verb, p string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, Path: p}
	}
	for _, c := range []struct {
		rule string
		a    authorizer.AttributesRecord
		want bool
	}{
		{`get | "" | pods`, resource("get", "", "pods", "", "x"), true},
		{`get | "" | pods`, resource("list", "", "pods", "", ""), false},
		{`get | "" | pods`, resource("get", "apps", "pods", "", "x"), false},
		{`get | "" | pods`, resource("get", "", "pods", "log", "x"), false},
		{`get | "" | pods/log`, resource("get", "", "pods", "log", "x"), true},
		{`get | "" | */log`, resource("get", "", "pods", "log", "x"), true},
		{`get | "" | */log`, resource("get", "", "pods", "", "x"), false},
		{`* | * | *`, resource("eat", "any", "thing", "sub", ""), true},
		{`get | "" | pods | x`, resource("get", "", "pods", "", "x"), true},
		{`get | "" | pods | x`, resource("get", "", "pods", "", "y"), false},
		{`get | /healthz /apis/*`, path("get", "/healthz"), true},
		{`get | /healthz /apis/*`, path("get", "/apis/apps"), true},
		{`get | /healthz /apis/*`, path("get", "/healthz/etcd"), false},
		{`* | *`, path("get", "/anything"), true},
		{`* | * | *`, path("get", "/anything"), false},
	} {
		if got := Allows(rule(c.rule), c.a); got != c.want {
			t.Errorf("%q, %+v: %v, want %v", c.rule, c.a, got, c.want)
		}
	}
}

func TestStockRoles(t *testing.T) {
	roles := map[string]rbacv1.ClusterRole{}
	for _, r := range StockClusterRoles() {
		if _, ok := roles[r.Name]; ok {
			t.Errorf("%s twice", r.Name)
		}
		roles[r.Name] = r
		if len(r.Rules) == 0 {
			t.Errorf("%s has no rules", r.Name)
		}
		for _, rule := range r.Rules {
			isResource, isURL := len(rule.APIGroups) > 0 && len(rule.Resources) > 0, len(rule.NonResourceURLs) > 0
			if len(rule.Verbs) == 0 || isResource == isURL {
				t.Errorf("%s: malformed rule %+v", r.Name, rule)
			}
		}
	}
	for _, pair := range [][2]string{{"admin", "edit"}, {"edit", "view"}, {"cluster-admin", "admin"}} {
		if ok, missing := validation.Covers(roles[pair[0]].Rules, roles[pair[1]].Rules); !ok {
			t.Errorf("%s lacks of %s: %v", pair[0], pair[1], missing)
		}
	}
	if ok, _ := validation.Covers(roles["view"].Rules, parseRules([]string{`get | "" | secrets`})); ok {
		t.Error("view may read secrets")
	}
	for _, b := range StockClusterRoleBindings() {
		if _, ok := roles[b.RoleRef.Name]; !ok || len(b.Subjects) == 0 && b.Name != "system:node" {
			t.Errorf("binding %s to %s of %v", b.Name, b.RoleRef.Name, b.Subjects)
		}
		if slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return s.Name == "" }) {
			t.Errorf("binding %s: subject without a name", b.Name)
		}
	}
}
