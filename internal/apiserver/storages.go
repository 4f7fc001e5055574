package apiserver

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/proa-project/proa/internal/apiserver/authn"
	"github.com/proa-project/proa/internal/apiserver/authz"
	"github.com/proa-project/proa/internal/apiserver/namespaces"
	"github.com/proa-project/proa/internal/apiserver/registry"
	"github.com/proa-project/proa/internal/apiserver/review"
	"github.com/proa-project/proa/internal/apiserver/subresource"
	"github.com/proa-project/proa/internal/apiserver/token"
	"github.com/proa-project/proa/internal/apiserver/usage"
)

// hubs names, for a kind with two Go types, whose storage and rules serve both.
var hubs = map[schema.GroupVersionResource]schema.GroupVersionResource{
	{Group: "autoscaling", Version: "v1", Resource: "horizontalpodautoscalers"}: {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "events.k8s.io", Version: "v1", Resource: "events"}:                 {Version: "v1", Resource: "events"},
}

// served collects what is served under a version of a group.
type served map[schema.GroupVersion]storages

func (v served) add(gv schema.GroupVersion, path string, s rest.Storage) {
	if v[gv] == nil {
		v[gv] = storages{}
	}
	v[gv][path] = s
}

// storages makes the storage of every resource and subresource.
func (s *Server) storages() (served, error) {
	all := served{}
	made := map[schema.GroupVersionResource]*registry.Store{}
	for _, r := range s.config.Resources {
		gvr := r.GroupVersion.WithResource(r.Name)
		if _, ok := hubs[gvr]; ok {
			continue
		}
		store, err := registry.NewStore(s.backend, s.scheme, r)
		if err != nil {
			return nil, err
		}
		s.generic.RegisterDestroyFunc(store.Destroy)
		made[gvr] = store
		s.stores[gvr.GroupResource().String()] = store
	}
	for alias, hub := range hubs {
		if store, ok := made[hub]; ok {
			made[alias] = store
		}
	}
	for gvr, store := range made {
		all.add(gvr.GroupVersion(), gvr.Resource, store)
	}
	// Subresources are copies of their store: what they share is set before.
	s.addNamespaces(all)
	services := s.serviceAllocation()
	services.store.AfterDelete = services.AfterDelete
	for gvr, store := range made {
		for name := range store.Resource().Subresources {
			all.add(gvr.GroupVersion(), gvr.Resource+"/"+name, store.Sub(name))
		}
	}
	s.guardRoles()
	services.store.BeginCreate, services.store.BeginUpdate = services.BeginCreate, services.BeginUpdate
	if err := s.addPodEndpoints(all); err != nil {
		return nil, err
	}
	all.add(coreV1, "componentstatuses", review.ComponentStatuses{Etcd: s.backend.Healthy})
	s.addScales(all)
	s.addIdentity(all)
	return all, nil
}

var coreV1 = schema.GroupVersion{Version: "v1"}

func (s *Server) addNamespaces(all served) {
	if store := s.stores["namespaces"]; store != nil {
		all.add(coreV1, "namespaces", namespaces.New(store))
	}
}

func (s *Server) addPodEndpoints(all served) error {
	pods, nodes, services, slices := s.stores["pods"], s.stores["nodes"], s.stores["services"], s.stores["endpointslices.discovery.k8s.io"]
	if pods == nil || nodes == nil || services == nil || slices == nil {
		return fmt.Errorf("pods, nodes, services and endpointslices are served together")
	}
	kubelet := subresource.NewKubelet(nodes, s.config.Kubelet)
	s.generic.RegisterDestroyFunc(kubelet.Close)
	p := subresource.Pods{Store: pods, Kubelet: kubelet, Authorizer: s.generic.Authorizer}
	binding := subresource.Binding{Pods: pods.Store}
	endpoints := storages{
		"pods/log":         subresource.Log{Pods: p},
		"pods/exec":        subresource.Exec(p),
		"pods/attach":      subresource.Attach(p),
		"pods/portforward": subresource.PortForward(p),
		"pods/proxy":       subresource.PodProxy(pods),
		"nodes/proxy":      subresource.NodeProxy(kubelet),
		"services/proxy":   subresource.ServiceProxy(services, pods, slices),
		"pods/binding":     binding,
		"bindings":         subresource.LegacyBinding{Binding: binding},
		"pods/eviction":    subresource.Eviction{Pods: pods.Sub("status").Standard(), Budgets: s.client.PolicyV1()},
	}
	for path, storage := range endpoints {
		all.add(coreV1, path, storage)
	}
	metrics := &usage.Metrics{Source: kubelet.Summary, Nodes: nodes, Pods: pods, Log: s.log}
	all.add(metricsv1beta1.SchemeGroupVersion, "nodes", metrics.NodeMetrics())
	all.add(metricsv1beta1.SchemeGroupVersion, "pods", metrics.PodMetrics())
	return nil
}

// addScales serves the scale of every kind that has replicas.
func (s *Server) addScales(all served) {
	apps := schema.GroupVersion{Group: "apps", Version: "v1"}
	scalable := []schema.GroupVersionResource{
		apps.WithResource("deployments"), apps.WithResource("replicasets"), apps.WithResource("statefulsets"),
		coreV1.WithResource("replicationcontrollers"),
	}
	for _, gvr := range scalable {
		if store := s.stores[gvr.GroupResource().String()]; store != nil {
			all.add(gvr.GroupVersion(), gvr.Resource+"/scale", subresource.NewScale(store.Store, gvr))
		}
	}
}

// addIdentity serves tokens and the kinds that are questions about who may do what.
func (s *Server) addIdentity(all served) {
	s.lookup = token.Stores{
		Accounts: s.stores["serviceaccounts"], Pods: s.stores["pods"], Secrets: s.stores["secrets"], Nodes: s.stores["nodes"],
	}
	all.add(coreV1, "serviceaccounts/token", token.Requests{Issuer: s.issuer, Lookup: &s.lookup})
	authentication := schema.GroupVersion{Group: "authentication.k8s.io", Version: "v1"}
	all.add(authentication, "tokenreviews", review.TokenReviews(authn.Tokens(s.tokens), s.config.APIAudiences))
	all.add(authentication, "selfsubjectreviews", review.SelfSubjectReviews())
	authorization := schema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"}
	all.add(authorization, "subjectaccessreviews", review.AccessReviews(s.generic.Authorizer))
	all.add(authorization, "localsubjectaccessreviews", review.LocalAccessReviews(s.generic.Authorizer))
	all.add(authorization, "selfsubjectaccessreviews", review.SelfAccessReviews(s.generic.Authorizer))
	all.add(authorization, "selfsubjectrulesreviews", review.SelfRules(s.rbac))
}

// guardRoles keeps users from granting what they don't have.
func (s *Server) guardRoles() {
	guard := authz.Guard{RBAC: s.rbac, Authorizer: s.generic.Authorizer}
	for _, name := range []string{"roles", "clusterroles", "rolebindings", "clusterrolebindings"} {
		if store := s.stores[name+".rbac.authorization.k8s.io"]; store != nil {
			store.BeginCreate, store.BeginUpdate = guard.BeginCreate, guard.BeginUpdate
		}
	}
}
