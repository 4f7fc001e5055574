package apiserver

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/client-go/tools/cache"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/proa-project/proa/internal/apiserver/aggregation"
	"github.com/proa-project/proa/internal/apiserver/objects"
)

const apiServices = "apiservices.apiregistration.k8s.io"

// newAggregator makes what sends requests to other servers.
func (s *Server) newAggregator() *aggregation.Aggregator {
	return aggregation.New(aggregation.Config{
		Watch: s.watchStore(apiServices), SetStatus: s.setAPIServiceStatus, Cluster: otherServers{s},
		Resolve: s.services().ResolveEndpoint, ClientCert: s.config.Proxy.Cert, ClientKey: s.config.Proxy.Key,
		Discovery: &remoteDiscovery{s: s, published: map[schema.GroupVersion]published{}}, Log: s.log,
	})
}

// aggregated is the handler of everything, with what other servers answer.
func (s *Server) aggregated(local http.Handler) http.Handler {
	groups := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/apis/"); ok && !strings.Contains(name, "/") {
			if group, ok := s.groups.ofOthers(name); ok {
				discovery.NewAPIGroupHandler(s.scheme.Codecs, group).ServeHTTP(w, r)
				return
			}
		}
		local.ServeHTTP(w, r)
	})
	return s.aggregator.Handler(groups)
}

// watchStore follows one of our own stores without the way through the handlers.
func (s *Server) watchStore(resource string) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			asked, err := internal(o)
			if err != nil {
				return nil, err
			}
			return s.stores[resource].List(inside(ctx, ""), asked)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			asked, err := internal(o)
			if err != nil {
				return nil, err
			}
			w, err := s.stores[resource].Watch(inside(ctx, ""), asked)
			if err != nil {
				return nil, err
			}
			return watch.Filter(w, unwrap), nil
		},
	}
}

func internal(o metav1.ListOptions) (*metainternalversion.ListOptions, error) {
	out := &metainternalversion.ListOptions{}
	return out, metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&o, out, nil)
}

// unwrap objects that the watch cache shares between watchers.
func unwrap(e watch.Event) (watch.Event, bool) {
	if c, ok := e.Object.(runtime.CacheableObject); ok {
		e.Object = c.GetObject()
	}
	return e, true
}

func (s *Server) setAPIServiceStatus(ctx context.Context, name string, change func(*registrationv1.APIServiceStatus) bool) error {
	return mendVia(ctx, direct{s}, apiServices, s.stores[apiServices].Sub("status").Standard(), "", name, func(have *registrationv1.APIService) bool {
		return change(&have.Status)
	})
}

// otherServers are found by our own Services.
type otherServers struct{ s *Server }

func (o otherServers) Service(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	service, err := objects.Get[*corev1.Service](ctx, o.s.stores["services"], namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return service, err
}

func (o otherServers) EndpointSlices(ctx context.Context, namespace, service string) ([]*discoveryv1.EndpointSlice, error) {
	all, err := objects.List[*discoveryv1.EndpointSlice](ctx, o.s.stores[slicesResource], namespace)
	return slices.DeleteFunc(all, func(s *discoveryv1.EndpointSlice) bool { return s.Labels[discoveryv1.LabelServiceName] != service }), err
}

// remoteDiscovery lists what other servers serve beside our own.
type remoteDiscovery struct {
	s         *Server
	mu        sync.Mutex
	published map[schema.GroupVersion]published
}

type published struct {
	resources                      []apidiscoveryv2.APIResourceDiscovery
	groupPriority, versionPriority int
}

func (d *remoteDiscovery) Publish(gv schema.GroupVersion, groupPriority, versionPriority int, resources []apidiscoveryv2.APIResourceDiscovery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.published[gv] = published{resources, groupPriority, versionPriority}
	d.show(gv, d.published[gv], apidiscoveryv2.DiscoveryFreshnessCurrent)
	d.list()
}

func (d *remoteDiscovery) Stale(gv schema.GroupVersion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.published[gv]; ok {
		d.show(gv, p, apidiscoveryv2.DiscoveryFreshnessStale)
	}
}

// Withdraw brings back what we serve ourselves, if there is such.
func (d *remoteDiscovery) Withdraw(gv schema.GroupVersion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.published, gv)
	d.list()
	if own, ok := d.s.own[gv]; ok {
		d.show(gv, own, apidiscoveryv2.DiscoveryFreshnessCurrent)
		return
	}
	d.s.generic.AggregatedDiscoveryGroupManager.RemoveGroupVersion(metav1.GroupVersion(gv))
}

func (d *remoteDiscovery) show(gv schema.GroupVersion, p published, f apidiscoveryv2.DiscoveryFreshness) {
	m := d.s.generic.AggregatedDiscoveryGroupManager
	m.AddGroupVersion(gv.Group, apidiscoveryv2.APIVersionDiscovery{Freshness: f, Version: gv.Version, Resources: p.resources})
	m.SetGroupVersionPriority(metav1.GroupVersion(gv), p.groupPriority, p.versionPriority)
}

func (d *remoteDiscovery) list() {
	versions := map[string][]string{}
	for gv := range d.published {
		versions[gv.Group] = append(versions[gv.Group], gv.Version)
	}
	d.s.groups.set(ofOtherServers, versions)
}

// Nobody waits for the APIServices that stand for what we serve ourselves: the
// start is over when they are made.
const localAPIsAfter = 2 * time.Second

// keepLocalAPIs keeps those APIServices until ctx ends.
func (s *Server) keepLocalAPIs(ctx context.Context) {
	for wait := localAPIsAfter; ; wait = 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.localAPIs(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("APIServices of our own are not as they must be", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.definitionsChanged:
		}
	}
}

func (s *Server) localAPIs(ctx context.Context) error {
	have, err := list[*registrationv1.APIService](ctx, s, apiServices, "")
	if err != nil {
		return err
	}
	crds, err := s.crds.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	served := s.ownAPIs()
	for group, versions := range customGroups(crds) {
		for _, v := range versions {
			served = append(served, aggregation.Local{
				GroupVersion: schema.GroupVersion{Group: group, Version: v}, Custom: true,
				GroupPriority: aggregation.CustomGroupPriority, VersionPriority: aggregation.CustomVersionPriority,
			})
		}
	}
	create, remove := aggregation.Changes(served, have)
	d := direct{s}
	for _, o := range create {
		if err := ensure(ctx, d, apiServices, o, nil); err != nil {
			return err
		}
	}
	for _, name := range remove {
		if err := d.delete(ctx, apiServices, "", name); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// ownAPIs are the versions of groups that are built in.
func (s *Server) ownAPIs() (all []aggregation.Local) {
	for _, gv := range slices.SortedFunc(maps.Keys(s.own), func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) }) {
		own := s.own[gv]
		all = append(all, aggregation.Local{GroupVersion: gv, GroupPriority: int32(own.groupPriority), VersionPriority: int32(own.versionPriority),
			// Who brings a metrics server of his own has it answer.
			Replaceable: gv == metricsv1beta1.SchemeGroupVersion})
	}
	return append(all, aggregation.Local{GroupVersion: apiextensionsv1.SchemeGroupVersion, GroupPriority: groupPriorityBase, VersionPriority: 1})
}
