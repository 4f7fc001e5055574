package apiserver

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/authz"
)

// systemNamespaces every cluster has from the start.
var systemNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// Objects are made so many at a time: etcd writes them to disk together.
const bootstrapWorkers = 16

// bootstrap makes what must be there before the first client.
func (s *Server) bootstrap(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range systemNamespaces {
		g.Go(func() error {
			if _, err := s.client.CoreV1().Namespaces().Get(gctx, name, metav1.GetOptions{ResourceVersion: "0"}); err == nil {
				return nil
			}
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if _, err := s.client.CoreV1().Namespaces().Create(gctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("namespace %s: %w", name, err)
			}
			return nil
		})
	}
	g.Go(func() error { return s.serviceCIDR(gctx) })
	g.Go(func() error { return s.repairPorts(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	return s.kubernetesService(ctx)
}

// bootstrapRoles makes the stock roles, and mends those that were changed and
// are not marked to stay so.
func (s *Server) bootstrapRoles(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(bootstrapWorkers)
	rbac := s.client.RbacV1()
	for _, role := range authz.StockClusterRoles() {
		g.Go(func() error {
			have, err := rbac.ClusterRoles().Get(ctx, role.Name, metav1.GetOptions{ResourceVersion: "0"})
			switch {
			case apierrors.IsNotFound(err):
				_, err = rbac.ClusterRoles().Create(ctx, &role, metav1.CreateOptions{})
			case err == nil && mayMend(have) && role.AggregationRule == nil && !equality.Semantic.DeepEqual(have.Rules, role.Rules):
				have.Rules = role.Rules
				_, err = rbac.ClusterRoles().Update(ctx, have, metav1.UpdateOptions{})
			}
			return stocked("cluster role", role.Name, err)
		})
	}
	for _, b := range authz.StockClusterRoleBindings() {
		g.Go(func() error {
			have, err := rbac.ClusterRoleBindings().Get(ctx, b.Name, metav1.GetOptions{ResourceVersion: "0"})
			switch {
			case apierrors.IsNotFound(err):
				_, err = rbac.ClusterRoleBindings().Create(ctx, &b, metav1.CreateOptions{})
			case err == nil && mayMend(have) && missingSubject(have.Subjects, b.Subjects):
				have.Subjects = b.Subjects
				_, err = rbac.ClusterRoleBindings().Update(ctx, have, metav1.UpdateOptions{})
			}
			return stocked("cluster role binding", b.Name, err)
		})
	}
	for _, role := range authz.StockRoles() {
		g.Go(func() error {
			_, err := rbac.Roles(role.Namespace).Get(ctx, role.Name, metav1.GetOptions{ResourceVersion: "0"})
			if apierrors.IsNotFound(err) {
				_, err = rbac.Roles(role.Namespace).Create(ctx, &role, metav1.CreateOptions{})
			}
			return stocked("role", role.Name, err)
		})
	}
	return g.Wait()
}

func stocked(kind, name string, err error) error {
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
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
