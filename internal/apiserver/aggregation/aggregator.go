package aggregation

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// Config is what an Aggregator works with. All fields are required.
type Config struct {
	// Watch gives the APIServices, and those that come.
	Watch *cache.ListWatch
	// SetStatus has change applied to the status of an APIService, if it is there.
	SetStatus func(ctx context.Context, name string, change func(*registrationv1.APIServiceStatus) bool) error
	Cluster   Cluster
	// Resolve picks an endpoint of a Service.
	Resolve func(namespace, name string, port int32) (*url.URL, error)
	// ClientCert and ClientKey, PEM, are believed by other servers when we say whom
	// a request comes from.
	ClientCert, ClientKey []byte
	Discovery             Discovery
	Log                   *slog.Logger
}

// Cluster is looked at to see where other servers are. A Service that is not
// there is nil.
type Cluster interface {
	Service(ctx context.Context, namespace, name string) (*corev1.Service, error)
	EndpointSlices(ctx context.Context, namespace, service string) ([]*discoveryv1.EndpointSlice, error)
}

// Discovery lists what is served.
type Discovery interface {
	Publish(gv schema.GroupVersion, groupPriority, versionPriority int, resources []apidiscoveryv2.APIResourceDiscovery)
	// Stale marks what could not be asked of its server just now.
	Stale(gv schema.GroupVersion)
	Withdraw(gv schema.GroupVersion)
}

// Aggregator knows the other servers.
type Aggregator struct {
	config Config
	routes atomic.Pointer[routes]

	mu      sync.Mutex
	keepers map[string]*keeper // by the APIService's name
	wg      sync.WaitGroup
}

// New knows of no other server before Run.
func New(c Config) *Aggregator { return &Aggregator{config: c, keepers: map[string]*keeper{}} }

func (a *Aggregator) current() routes {
	if r := a.routes.Load(); r != nil {
		return *r
	}
	return nil
}

// change the routes; only keepers do, and a lock keeps them apart.
func (a *Aggregator) change(f func(routes) routes) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := f(a.current())
	a.routes.Store(&r)
}

// Run follows the APIServices until ctx ends, and returns when all keepers have.
func (a *Aggregator) Run(ctx context.Context) {
	defer a.wg.Wait()
	informer := cache.NewSharedIndexInformer(a.config.Watch, &registrationv1.APIService{}, 0, nil)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.changed(ctx, o.(*registrationv1.APIService)) },
		UpdateFunc: func(_, o any) { a.changed(ctx, o.(*registrationv1.APIService)) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			a.gone(o.(*registrationv1.APIService).Name)
		},
	})
	if err != nil {
		a.config.Log.Error("APIServices can't be watched", "err", err)
		return
	}
	informer.RunWithContext(ctx)
}

func (a *Aggregator) changed(ctx context.Context, s *registrationv1.APIService) {
	if s.Spec.Service == nil {
		a.gone(s.Name)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.keepers[s.Name]; ok {
		k.put(s)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &keeper{
		aggregator: a, name: s.Name, gv: schema.GroupVersion{Group: s.Spec.Group, Version: s.Spec.Version},
		cancel: cancel, news: make(chan *registrationv1.APIService, 1),
	}
	k.put(s)
	a.keepers[s.Name] = k
	a.wg.Go(func() { k.run(ctx) })
}

func (a *Aggregator) gone(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.keepers[name]; ok {
		delete(a.keepers, name)
		k.cancel()
	}
}

// now, as statuses have it.
func now() metav1.Time { return metav1.Now().Rfc3339Copy() }
