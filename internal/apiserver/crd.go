package apiserver

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensionserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericserver "k8s.io/apiserver/pkg/server"
	serverstore "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/tracing"

	"github.com/proa-project/proa/internal/apiserver/openapi"
	"github.com/proa-project/proa/internal/apiserver/registry"
)

// extensions builds the library's server of custom resources, to which the main
// one hands every path that it does not know. They share the handler chain, the
// store and the discovery document.
func (s *Server) extensions(g *genericserver.Config) (*extensionserver.CustomResourceDefinitions, error) {
	c := *g
	c.PostStartHooks = map[string]genericserver.PostStartHookConfigEntry{}
	c.OpenAPIV3Config = openapi.Extensions(extensionserver.Scheme)
	c.RESTOptionsGetter = definitionStorage{s.backend}
	c.MergedResourceConfig = serverstore.NewResourceConfig()
	c.MergedResourceConfig.EnableVersions(apiextensionsv1.SchemeGroupVersion)
	config := extensionserver.Config{
		GenericConfig: &genericserver.RecommendedConfig{Config: c},
		ExtraConfig: extensionserver.ExtraConfig{
			CRDRESTOptionsGetter: customStorage{s.backend},
			MasterCount:          1,
			ServiceResolver:      s.services(),
			AuthResolverWrapper:  webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, s.LoopbackConfig(), tracing.NewNoopTracerProvider()),
		},
	}
	crds, err := config.Complete().New(genericserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("custom resources: %w", err)
	}
	// With these set the library's controllers publish custom resources there.
	crds.GenericAPIServer.StaticOpenAPISpec = openapi.EmptyV2()
	crds.GenericAPIServer.OpenAPIVersionedService = s.openapi.V2
	crds.GenericAPIServer.OpenAPIV3VersionedService = s.openapi.V3
	return crds, nil
}

// definitionStorage stores CustomResourceDefinition objects.
type definitionStorage struct{ b *registry.Backend }

func (d definitionStorage) GetRESTOptions(gr schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	gv := apiextensionsv1.SchemeGroupVersion
	encode := runtime.NewMultiGroupVersioner(gv, schema.GroupKind{Group: gv.Group})
	return d.b.Options(gr, gr.Group+"/"+gr.Resource, extensionserver.Codecs.LegacyCodec(gv), encode, true), nil
}

// customStorage stores custom resources.
type customStorage struct{ b *registry.Backend }

func (c customStorage) GetRESTOptions(gr schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	return c.b.Options(gr, gr.Group+"/"+gr.Resource, unstructured.UnstructuredJSONScheme, nil, true), nil
}

// followCustomGroups keeps the groups of custom resources in the plain list of
// groups (/apis), which the library leaves to others; the aggregated one has them
// from it. changed is called after every change of definitions.
func (s *Server) followCustomGroups(changed func()) error {
	own := apiextensionsv1.SchemeGroupVersion
	s.generic.DiscoveryGroupManager.AddGroup(groupOf(own.Group, []string{own.Version}))
	informer := s.crds.Informers.Apiextensions().V1().CustomResourceDefinitions()
	update := func() {
		if all, err := informer.Lister().List(labels.Everything()); err == nil { // a lister in memory has no errors
			s.groups.set(ofCustomResources, customGroups(all))
			changed()
		}
	}
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { update() }, UpdateFunc: func(any, any) { update() }, DeleteFunc: func(any) { update() },
	})
	return err
}

// customGroups are the groups of established definitions with their versions,
// the preferred one first.
func customGroups(crds []*apiextensionsv1.CustomResourceDefinition) map[string][]string {
	groups := map[string][]string{}
	for _, crd := range crds {
		established := slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
			return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
		})
		for _, v := range crd.Spec.Versions {
			if established && v.Served && !slices.Contains(groups[crd.Spec.Group], v.Name) {
				groups[crd.Spec.Group] = append(groups[crd.Spec.Group], v.Name)
			}
		}
	}
	for _, versions := range groups {
		slices.SortFunc(versions, newestVersionFirst)
	}
	return groups
}
