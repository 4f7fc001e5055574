package apiserver

import (
	"context"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/authz"
)

// systemNamespaces every cluster has from the start.
var systemNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// So many objects are written at a time: etcd takes them to disk together.
const bootstrapWorkers = 16

// bootstrap makes what must be there before the first client.
func (s *Server) bootstrap(ctx context.Context) error {
	d := direct{s}
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range systemNamespaces {
		g.Go(func() error {
			return ensure(gctx, d, "namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil)
		})
	}
	g.Go(func() error { return s.serviceCIDR(gctx) })
	g.Go(func() error { return s.repairPorts(gctx) })
	g.Go(func() error { return s.kubernetesService(gctx) })
	return g.Wait()
}

// bootstrapRoles makes the stock roles, and mends those that were changed and
// are not marked to stay so.
func (s *Server) bootstrapRoles(ctx context.Context) error {
	d := direct{s}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(bootstrapWorkers)
	for _, want := range authz.StockClusterRoles() {
		g.Go(func() error {
			return ensure(ctx, d, "clusterroles.rbac.authorization.k8s.io", &want, func(have *rbacv1.ClusterRole) bool {
				if !mayMend(have) || want.AggregationRule != nil || equality.Semantic.DeepEqual(have.Rules, want.Rules) {
					return false
				}
				have.Rules = want.Rules
				return true
			})
		})
	}
	for _, want := range authz.StockClusterRoleBindings() {
		g.Go(func() error {
			return ensure(ctx, d, "clusterrolebindings.rbac.authorization.k8s.io", &want, func(have *rbacv1.ClusterRoleBinding) bool {
				if !mayMend(have) || !missingSubject(have.Subjects, want.Subjects) {
					return false
				}
				have.Subjects = want.Subjects
				return true
			})
		})
	}
	for _, want := range authz.StockRoles() {
		g.Go(func() error { return ensure(ctx, d, "roles.rbac.authorization.k8s.io", &want, nil) })
	}
	return g.Wait()
}

func mayMend(obj metav1.Object) bool {
	return obj.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] == "true"
}

func missingSubject(have, want []rbacv1.Subject) bool {
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || h == w
		}
		if !found {
			return true
		}
	}
	return false
}
