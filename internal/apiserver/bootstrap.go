package apiserver

import (
	"context"
	"encoding/json"
	"maps"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/authn"
	"github.com/proa-project/proa/internal/apiserver/authz"
	"github.com/proa-project/proa/internal/apiserver/scheduling"
	"github.com/proa-project/proa/internal/kit/localpath"
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
	g.Go(func() error { return ensure(gctx, d, "storageclasses.storage.k8s.io", localpath.StorageClass(), nil) })
	for _, class := range scheduling.SystemPriorityClasses() {
		g.Go(func() error { return ensure(gctx, d, "priorityclasses.scheduling.k8s.io", class, nil) })
	}
	g.Go(func() error { return s.tellOtherServers(gctx) })
	return g.Wait()
}

// otherServersConfigMap tells the servers of aggregated APIs whom to believe. Its
// name and keys are the field's: their library reads it.
const otherServersConfigMap = "extension-apiserver-authentication"

func (s *Server) tellOtherServers(ctx context.Context) error {
	data := map[string]string{"client-ca-file": string(s.config.ClientCA)}
	if p := s.config.Proxy; len(p.CA) > 0 {
		data["requestheader-client-ca-file"] = string(p.CA)
		for key, list := range map[string][]string{
			"requestheader-allowed-names": {p.Name}, "requestheader-username-headers": authn.UserHeaders, "requestheader-uid-headers": authn.UIDHeaders,
			"requestheader-group-headers": authn.GroupHeaders, "requestheader-extra-headers-prefix": authn.ExtraHeaderPrefixes,
		} {
			text, err := json.Marshal(list)
			if err != nil {
				return err
			}
			data[key] = string(text)
		}
	}
	return ensure(ctx, direct{s}, "configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: otherServersConfigMap}, Data: data},
		func(have *corev1.ConfigMap) bool {
			changed := !maps.Equal(have.Data, data)
			have.Data = data
			return changed
		})
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
