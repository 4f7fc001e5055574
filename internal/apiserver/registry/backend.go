package registry

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdkubernetes "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	etcdfeature "k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	// Prefix is where everything lies in etcd, as upstream has it.
	Prefix = "/registry"

	compactInterval = 5 * time.Minute
	// History that a watch may resume from.
	eventsHistoryWindow = 75 * time.Second
)

// Backend makes storage over one etcd client, and knows all that it made.
type Backend struct {
	client    *etcdkubernetes.Client
	compactor stoppableCompactor
	leases    etcd3.LeaseManagerConfig

	// Transformer encrypts values at rest; identity when unset.
	Transformer func(schema.GroupResource) value.Transformer

	mu      sync.Mutex
	cachers []*cacher.Cacher
}

type stoppableCompactor interface {
	etcd3.Compactor
	Stop()
}

// NewBackend takes client, which stays its caller's to close.
func NewBackend(client *clientv3.Client) *Backend {
	announceFeatures(client)
	k := &etcdkubernetes.Client{Client: client}
	k.Kubernetes = k
	return &Backend{
		client:    k,
		compactor: etcd3.NewCompactor(client, compactInterval, clock.RealClock{}, func() {}),
		leases:    etcd3.NewDefaultLeaseManagerConfig(),
	}
}

// Stop ends the compaction. The storages are destroyed by their users before.
func (b *Backend) Stop() { b.compactor.Stop() }

// WaitReady returns when every watch cache made so far has its content.
func (b *Backend) WaitReady(ctx context.Context) error {
	b.mu.Lock()
	all := b.cachers
	b.mu.Unlock()
	for _, c := range all {
		if err := c.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Healthy reports whether etcd answers.
func (b *Backend) Healthy(ctx context.Context) error {
	_, err := b.client.Client.Get(ctx, Prefix+"/health")
	return err
}

// Options describes storage of resource gr under key prefix (below Prefix).
func (b *Backend) Options(gr schema.GroupResource, key string, codec runtime.Codec, encode runtime.GroupVersioner, cached bool) generic.RESTOptions {
	c := storagebackend.ConfigForResource{
		GroupResource: gr,
		Config: storagebackend.Config{
			Prefix:              Prefix,
			Codec:               codec,
			EncodeVersioner:     encode,
			EventsHistoryWindow: eventsHistoryWindow,
			LeaseManagerConfig:  b.leases,
		},
	}
	if b.Transformer != nil {
		c.Transformer = b.Transformer(gr)
	}
	o := generic.RESTOptions{
		StorageConfig:           &c,
		Decorator:               b.plain,
		EnableGarbageCollection: true,
		DeleteCollectionWorkers: 4,
		ResourcePrefix:          key,
	}
	if cached {
		o.Decorator = b.cached
	}
	return o
}

var _ generic.StorageDecorator = (*Backend)(nil).plain

func (b *Backend) plain(c *storagebackend.ConfigForResource, prefix string, _ func(runtime.Object) (string, error),
	newFunc, newList func() runtime.Object, _ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	transformer := c.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	versioner := storage.APIObjectVersioner{}
	s, err := etcd3.New(b.client, b.compactor, c.Codec, newFunc, newList, c.Prefix, prefix, c.GroupResource,
		transformer, c.LeaseManagerConfig, etcd3.NewDefaultDecoder(c.Codec, versioner), versioner)
	if err != nil {
		return nil, nil, err
	}
	return s, sync.OnceFunc(s.Close), nil
}

func (b *Backend) cached(c *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
	newFunc, newList func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	raw, destroy, err := b.plain(c, prefix, key, newFunc, newList, attrs, triggers, indexers)
	if err != nil {
		return nil, nil, err
	}
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage:             raw,
		Versioner:           storage.APIObjectVersioner{},
		GroupResource:       c.GroupResource,
		EventsHistoryWindow: c.EventsHistoryWindow,
		ResourcePrefix:      prefix,
		KeyFunc:             key,
		NewFunc:             newFunc,
		NewListFunc:         newList,
		GetAttrsFunc:        attrs,
		IndexerFuncs:        triggers,
		Indexers:            indexers,
		Codec:               c.Codec,
	})
	if err != nil {
		destroy()
		return nil, nil, err
	}
	b.mu.Lock()
	b.cachers = append(b.cachers, cached)
	b.mu.Unlock()
	delegator := cacher.NewCacheDelegator(cached, raw)
	return delegator, sync.OnceFunc(func() {
		delegator.Stop()
		cached.Stop()
		destroy()
	}), nil
}

// announceFeatures tells the library what the store can do. It asks by
// endpoint, and an embedded store has none.
func announceFeatures(c *clientv3.Client) {
	if len(c.Endpoints()) == 0 {
		etcdfeature.DefaultFeatureSupportChecker.CheckClient(c.Ctx(), embeddedEndpoint{c}, storage.RequestWatchProgress)
	}
}

type embeddedEndpoint struct{ *clientv3.Client }

func (embeddedEndpoint) Endpoints() []string { return []string{"embedded"} }
