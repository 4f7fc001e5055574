package dns

import (
	"net/netip"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Catalog is what a Zone knows of the cluster. Its objects are read only.
type Catalog interface {
	Namespace(name string) bool
	Service(namespace, name string) (*v1.Service, bool)
	Slices(namespace, service string) []*discovery.EndpointSlice
	// ServicesAt have the address as their own; SlicesAt list it.
	ServicesAt(netip.Addr) []*v1.Service
	SlicesAt(netip.Addr) []*discovery.EndpointSlice
}

// Names of the indices that we add to the shared informers.
const (
	byService = "dns.service"
	byAddress = "dns.address"
)

// informed is the Catalog of the shared informers.
type informed struct {
	namespaces corelisters.NamespaceLister
	services   corelisters.ServiceLister
	addresses  cache.Indexer
	slices     cache.Indexer
	synced     []cache.InformerSynced
}

var _ Catalog = (*informed)(nil)

func newCatalog(factory informers.SharedInformerFactory) (*informed, error) {
	core := factory.Core().V1()
	services, slices := core.Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer()
	if err := services.AddIndexers(cache.Indexers{byAddress: serviceAddresses}); err != nil {
		return nil, err
	}
	if err := slices.AddIndexers(cache.Indexers{byService: sliceService, byAddress: sliceAddresses}); err != nil {
		return nil, err
	}
	return &informed{
		namespaces: core.Namespaces().Lister(), services: core.Services().Lister(),
		addresses: services.GetIndexer(), slices: slices.GetIndexer(),
		synced: []cache.InformerSynced{core.Namespaces().Informer().HasSynced, services.HasSynced, slices.HasSynced},
	}, nil
}

func serviceAddresses(obj any) (keys []string, _ error) {
	for _, ip := range obj.(*v1.Service).Spec.ClusterIPs {
		if a, err := netip.ParseAddr(ip); err == nil {
			keys = append(keys, a.String())
		}
	}
	return keys, nil
}

func sliceService(obj any) ([]string, error) {
	s := obj.(*discovery.EndpointSlice)
	return []string{s.Namespace + "/" + s.Labels[discovery.LabelServiceName]}, nil
}

func sliceAddresses(obj any) (keys []string, _ error) {
	for i := range obj.(*discovery.EndpointSlice).Endpoints {
		for _, ip := range obj.(*discovery.EndpointSlice).Endpoints[i].Addresses {
			if a, err := netip.ParseAddr(ip); err == nil {
				keys = append(keys, a.String())
			}
		}
	}
	return keys, nil
}

func (c *informed) Namespace(name string) bool {
	_, err := c.namespaces.Get(name)
	return err == nil
}

func (c *informed) Service(namespace, name string) (*v1.Service, bool) {
	s, err := c.services.Services(namespace).Get(name)
	return s, err == nil
}

func (c *informed) Slices(namespace, service string) []*discovery.EndpointSlice {
	return indexed[discovery.EndpointSlice](c.slices, byService, namespace+"/"+service)
}

func (c *informed) ServicesAt(a netip.Addr) []*v1.Service {
	return indexed[v1.Service](c.addresses, byAddress, a.String())
}

func (c *informed) SlicesAt(a netip.Addr) []*discovery.EndpointSlice {
	return indexed[discovery.EndpointSlice](c.slices, byAddress, a.String())
}

func indexed[T any](indexer cache.Indexer, index, key string) []*T {
	objects, err := indexer.ByIndex(index, key)
	if err != nil {
		return nil // the index is there: we made it
	}
	out := make([]*T, len(objects))
	for i, o := range objects {
		out[i] = o.(*T)
	}
	return out
}
