package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

const (
	// gather is how long changes are collected before they are applied together:
	// short for a human, long for a rollout of a thousand pods.
	gather = 5 * time.Millisecond
	// retry after the kernel refused a transaction.
	retry = time.Second
	// recheck whether a load balancer's port that a program had is free now.
	recheck = 30 * time.Second
)

// bySlice is the name of our index of the shared informer.
const byService = "proxy.service"

// Config of a Proxy. All fields are required.
type Config struct {
	ClusterID string
	Node      string
	Pods      []netip.Prefix // of all nodes' pods, a range or more a family
	Services  []netip.Prefix // says which families there are
	Informers informers.SharedInformerFactory
	Recorder  record.EventRecorder
	Log       *slog.Logger
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	switch {
	case c.ClusterID == "" || c.Node == "":
		return errors.New("proxy: ClusterID and Node are required")
	case len(c.Pods) == 0 || len(c.Services) == 0:
		return errors.New("proxy: the ranges of Pods and Services are required")
	case c.Informers == nil || c.Recorder == nil || c.Log == nil:
		return errors.New("proxy: Informers, Recorder and Log are required")
	}
	return nil
}

// Proxy keeps the tables in step with the services.
type Proxy struct {
	config   Config
	tables   []*table
	health   *healthServers
	services corelisters.ServiceLister
	nodes    corelisters.NodeLister
	slices   cache.Indexer
	synced   []cache.InformerSynced
	changed  chan struct{}

	mu    sync.Mutex // guards dirty and all
	dirty map[string]bool
	all   bool // every service is dirty

	// Of Run alone.
	node    Node
	blocked map[string]bool // services whose load balancer's port a program has
	healths map[string]Health
}

// New registers with the informers.
func New(config Config) (*Proxy, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	core, endpoints := config.Informers.Core().V1(), config.Informers.Discovery().V1().EndpointSlices().Informer()
	if err := endpoints.AddIndexers(cache.Indexers{byService: func(o any) ([]string, error) { return []string{serviceOf(o)}, nil }}); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{
		config: config, services: core.Services().Lister(), nodes: core.Nodes().Lister(), slices: endpoints.GetIndexer(),
		health: newHealthServers(config.Log), changed: make(chan struct{}, 1), dirty: map[string]bool{}, all: true,
		blocked: map[string]bool{}, healths: map[string]Health{},
	}
	for _, f := range []family{ipv4, ipv6} {
		if len(f.only(config.Services)) > 0 {
			p.tables = append(p.tables, newTable(f, config.ClusterID, config.Pods))
		}
	}
	return p, errors.Join(
		p.watch(core.Services().Informer(), func(o any) { p.touch(keyOf(o.(*v1.Service))) }),
		p.watch(endpoints, func(o any) { p.touch(serviceOf(o)) }),
		p.watch(core.Nodes().Informer(), func(o any) {
			if o.(*v1.Node).Name == config.Node {
				p.ring()
			}
		}),
	)
}

func keyOf(s *v1.Service) string { return s.Namespace + "/" + s.Name }

func serviceOf(o any) string {
	s := o.(*discovery.EndpointSlice)
	return s.Namespace + "/" + s.Labels[discovery.LabelServiceName]
}

func (p *Proxy) watch(i cache.SharedIndexInformer, touch func(any)) error {
	r, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: touch,
		UpdateFunc: func(old, new any) {
			touch(old) // a slice may have gone over to another service
			touch(new)
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			touch(o)
		},
	})
	if err == nil {
		p.synced = append(p.synced, r.HasSynced)
	}
	return err
}

func (p *Proxy) touch(service string) {
	p.mu.Lock()
	p.dirty[service] = true
	p.mu.Unlock()
	p.ring()
}

func (p *Proxy) ring() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run applies changes until ctx ends. The tables stay: connections go on while
// the server is replaced.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.health.close()
	if !cache.WaitForCacheSync(ctx.Done(), p.synced...) {
		return nil
	}
	again := time.NewTicker(recheck)
	defer again.Stop()
	p.ring()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			p.retryBlocked()
			continue
		case <-p.changed:
		}
		wait := gather
		if err := p.sync(); err != nil {
			p.config.Log.Warn("Applying the services failed", "err", err)
			p.ring()
			wait = retry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (p *Proxy) retryBlocked() {
	for key := range p.blocked {
		p.touch(key)
	}
}

// sync compiles the services that changed and applies what comes of it.
func (p *Proxy) sync() error {
	keys, err := p.take()
	if err != nil {
		return err
	}
	for _, key := range keys {
		p.compile(key)
	}
	p.syncHealth()
	var failed []error
	for _, t := range p.tables {
		flows := t.stale()
		if err := t.sync(); err != nil {
			failed = append(failed, err)
			continue
		}
		failed = append(failed, flows.forget(t.family))
	}
	return errors.Join(failed...)
}

// take the services to be looked at: all, if this node is another than before.
func (p *Proxy) take() (keys []string, err error) {
	node := Node{Name: p.config.Node}
	if n, err := p.nodes.Get(p.config.Node); err == nil {
		node = describe(n)
	}
	p.mu.Lock()
	dirty, all := p.dirty, p.all || !p.node.equal(node)
	p.dirty, p.all = map[string]bool{}, false
	p.mu.Unlock()
	p.node = node
	if all {
		services, err := p.services.List(labels.Everything())
		if err != nil {
			return nil, err
		}
		for _, s := range services {
			dirty[keyOf(s)] = true
		}
	}
	return slices.Collect(maps.Keys(dirty)), nil
}

// compile one service and put what comes of it into the models.
func (p *Proxy) compile(key string) {
	namespace, name, _ := cache.SplitMetaNamespaceKey(key)
	s, err := p.services.Services(namespace).Get(name)
	if err != nil {
		s = &v1.Service{} // gone: it says nothing
	}
	node := p.node
	node.Taken = p.taken(key, s)
	rules := Compile(s, p.slicesOf(key), node)
	order := s.CreationTimestamp.UTC().Format(time.RFC3339) + " " + key
	for _, t := range p.tables {
		t.put(key, order, rules.of(t.family))
	}
	delete(p.healths, key)
	if rules.Health != nil {
		p.healths[key] = *rules.Health
	}
}

func (p *Proxy) slicesOf(key string) []*discovery.EndpointSlice {
	objects, err := p.slices.ByIndex(byService, key)
	if err != nil {
		return nil // the index is there: we made it
	}
	all := make([]*discovery.EndpointSlice, len(objects))
	for i, o := range objects {
		all[i] = o.(*discovery.EndpointSlice)
	}
	return all
}

// taken ports, where they matter. A service that is in the way of a program is
// looked at again later, and its owner is told once.
func (p *Proxy) taken(key string, s *v1.Service) map[ProtocolPort]bool {
	if !slices.ContainsFunc(balancerAddrs(s), func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && slices.Contains(p.node.Addrs, a)
	}) {
		delete(p.blocked, key)
		return nil
	}
	taken, err := takenPorts()
	if err != nil {
		p.config.Log.Warn("Ports in use are not known", "err", err)
	}
	var inTheWay []string
	for _, port := range s.Spec.Ports {
		if taken[ProtocolPort{port.Protocol, uint16(port.Port)}] {
			inTheWay = append(inTheWay, fmt.Sprintf("%d/%s", port.Port, port.Protocol))
		}
	}
	if len(inTheWay) > 0 && !p.blocked[key] {
		p.config.Recorder.Eventf(s, v1.EventTypeWarning, "PortInUse", "node %s does not serve %s: a program of the node listens there", p.node.Name, strings.Join(inTheWay, ", "))
	}
	if p.blocked[key] = len(inTheWay) > 0; !p.blocked[key] {
		delete(p.blocked, key)
	}
	return taken
}

func (p *Proxy) syncHealth() {
	want := map[uint16]Health{}
	for _, h := range p.healths {
		want[h.Port] = h
	}
	p.health.sync(want)
}
