package apiserver

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/registry/rest"
	genericserver "k8s.io/apiserver/pkg/server"

	"github.com/proa-project/proa/internal/apiserver/registry"
)

// storages is what one version of one group serves, by path ("pods", "pods/log").
type storages map[string]rest.Storage

// install puts every group on the map. The library's own way
// (InstallAPIGroups) insists on building OpenAPI at start.
func (s *Server) install(c *genericserver.Config) error {
	all, err := s.storages()
	if err != nil {
		return err
	}
	// Routes are half of the start: every one compiles regular expressions.
	var g errgroup.Group
	for i, group := range groups {
		g.Go(func() error {
			if err := s.installGroup(c, group, all, groupPriorityBase+len(groups)-i); err != nil {
				return fmt.Errorf("API group %q: %w", group.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Server) installGroup(c *genericserver.Config, g registry.Group, all map[schema.GroupVersion]storages, priority int) error {
	root, manager := genericserver.APIGroupPrefix, s.generic.AggregatedDiscoveryGroupManager
	if g.Name == "" {
		root, manager = genericserver.DefaultLegacyAPIPrefix, s.generic.AggregatedLegacyDiscoveryGroupManager
	}
	info := metav1.APIGroup{Name: g.Name}
	for i, version := range g.Versions {
		gv := schema.GroupVersion{Group: g.Name, Version: version}
		if len(all[gv]) == 0 {
			continue
		}
		v := s.groupVersion(c, gv, all)
		v.Root = root
		found, _, err := v.InstallREST(s.generic.Handler.GoRestfulContainer)
		if err != nil {
			return err
		}
		manager.AddGroupVersion(g.Name, apidiscoveryv2.APIVersionDiscovery{
			Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Version: version, Resources: found,
		})
		own := published{found, priority, len(g.Versions) - i}
		manager.SetGroupVersionPriority(metav1.GroupVersion(gv), own.groupPriority, own.versionPriority)
		s.setOwn(gv, own)
		info.Versions = append(info.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: version})
	}
	s.installDiscovery(g.Name, info)
	return nil
}

// groupPriorityBase puts the built-in groups before those of CRDs and aggregated
// APIs. Whoever asks for a kind by its name alone gets the one of the first group.
const groupPriorityBase = 17000

func (s *Server) setOwn(gv schema.GroupVersion, own published) {
	s.ownMutex.Lock()
	defer s.ownMutex.Unlock()
	s.own[gv] = own
}

func (s *Server) installDiscovery(group string, info metav1.APIGroup) {
	container := s.generic.Handler.GoRestfulContainer
	if group == "" {
		addresses := discovery.DefaultAddresses{DefaultAddress: s.generic.ExternalAddress}
		legacy := discovery.NewLegacyRootAPIHandler(addresses, s.scheme.Codecs, genericserver.DefaultLegacyAPIPrefix)
		manager := s.generic.AggregatedLegacyDiscoveryGroupManager
		container.Add(aggregated.WrapAggregatedDiscoveryToHandler(legacy, manager, manager).
			GenerateWebService(genericserver.DefaultLegacyAPIPrefix, metav1.APIVersions{}))
		return
	}
	if len(info.Versions) == 0 {
		return
	}
	info.PreferredVersion = info.Versions[0]
	s.generic.DiscoveryGroupManager.AddGroup(info)
	container.Add(discovery.NewAPIGroupHandler(s.scheme.Codecs, info).WebService())
}

func (s *Server) groupVersion(c *genericserver.Config, gv schema.GroupVersion, all map[schema.GroupVersion]storages) *endpoints.APIGroupVersion {
	served := map[string][]string{}
	for other, resources := range all {
		for path := range resources {
			if other.Group == gv.Group {
				served[path] = append(served[path], other.String())
			}
		}
	}
	return &endpoints.APIGroupVersion{
		Storage:                     all[gv],
		GroupVersion:                gv,
		AllServedVersionsByResource: served,
		OptionsExternalVersion:      &schema.GroupVersion{Version: "v1"},
		Serializer:                  s.scheme.Codecs,
		ParameterCodec:              s.scheme.Parameter,
		Typer:                       s.scheme,
		Creater:                     s.scheme,
		Convertor:                   s.scheme,
		ConvertabilityChecker:       s.scheme,
		Defaulter:                   s.scheme,
		Namer:                       runtime.Namer(meta.NewAccessor()),
		UnsafeConvertor:             runtime.UnsafeObjectConvertor(s.scheme.Scheme),
		TypeConverter:               s.converter,
		EquivalentResourceRegistry:  s.generic.EquivalentResourceRegistry,
		Authorizer:                  s.generic.Authorizer,
		Admit:                       c.AdmissionControl,
		MinRequestTimeout:           time.Duration(c.MinRequestTimeout) * time.Second,
		MaxRequestBodyBytes:         c.MaxRequestBodyBytes,
	}
}
