package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/proa-project/proa/internal/apiserver/registry"
)

// hubs names, for a kind with two Go types, whose storage and rules serve both.
var hubs = map[schema.GroupVersionResource]schema.GroupVersionResource{
	{Group: "autoscaling", Version: "v1", Resource: "horizontalpodautoscalers"}: {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "events.k8s.io", Version: "v1", Resource: "events"}:                 {Version: "v1", Resource: "events"},
}

// storages makes the storage of every resource and subresource.
func (s *Server) storages() (map[schema.GroupVersion]storages, error) {
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
	all := map[schema.GroupVersion]storages{}
	for gvr, store := range made {
		gv := gvr.GroupVersion()
		if all[gv] == nil {
			all[gv] = storages{}
		}
		all[gv][gvr.Resource] = store
		for name := range store.Resource().Subresources {
			all[gv][gvr.Resource+"/"+name] = store.Sub(name)
		}
	}
	return all, nil
}
