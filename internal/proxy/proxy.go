package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// gather is how long changes are collected before they are applied together:
// short for a human, long for a rollout of a thousand pods.
const gather = 5 * time.Millisecond

// retry after the kernel refused a transaction.
const retry = time.Second

// Config of a Proxy. All fields are required.
type Config struct {
	ClusterID string
	Node      string
	Informers informers.SharedInformerFactory
}

// Proxy keeps the table in step with the services.
type Proxy struct {
	config  Config
	table   *table
	changed chan struct{}
	synced  []cache.InformerSynced
}

// New makes the table and registers with the informers.
func New(config Config) (*Proxy, error) {
	if config.ClusterID == "" || config.Node == "" || config.Informers == nil {
		return nil, errors.New("proxy: ClusterID, Node and Informers are required")
	}
	p := &Proxy{config: config, table: newTable(config.ClusterID), changed: make(chan struct{}, 1)}
	if err := p.table.install(); err != nil {
		return nil, fmt.Errorf("proxy: make table: %w", err)
	}
	services := config.Informers.Core().V1().Services().Informer()
	slices := config.Informers.Discovery().V1().EndpointSlices().Informer()
	for _, i := range []cache.SharedIndexInformer{services, slices} {
		r, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { p.ring() }, UpdateFunc: func(any, any) { p.ring() }, DeleteFunc: func(any) { p.ring() },
		})
		if err != nil {
			return nil, err
		}
		p.synced = append(p.synced, r.HasSynced)
	}
	return p, nil
}

func (p *Proxy) ring() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run applies changes until ctx ends. The table stays: connections go on while
// the server is replaced.
func (p *Proxy) Run(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), p.synced...) {
		return nil
	}
	p.ring()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		}
		wait := gather
		if err := p.sync(); err != nil {
			slog.Warn("Applying the services failed", "err", err)
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

func (p *Proxy) sync() error {
	services, err := p.config.Informers.Core().V1().Services().Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	endpoints, err := p.config.Informers.Discovery().V1().EndpointSlices().Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	before := p.table.applied
	want := Compile(services, endpoints, p.config.Node)
	if err := p.table.apply(want); err != nil {
		return err
	}
	return forgetFlows(moved(before, want))
}

// moved are the UDP frontends whose packets now go elsewhere. UDP has no
// connections of its own: a client that goes on sending would stay with an
// endpoint that is gone.
func moved(before, after Ruleset) map[Frontend]bool {
	found := map[Frontend]bool{}
	for f, chain := range before.Frontends {
		if f.Protocol == v1.ProtocolUDP && after.Frontends[f] != chain {
			found[f] = true
		}
	}
	for f := range after.Frontends {
		if f.Protocol == v1.ProtocolUDP && before.Refused[f] {
			found[f] = true
		}
	}
	return found
}

func forgetFlows(frontends map[Frontend]bool) error {
	if len(frontends) == 0 {
		return nil
	}
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, flows(frontends))
	if err != nil {
		return fmt.Errorf("forget UDP flows: %w", err)
	}
	return nil
}

// flows matches the connection-tracking entries of frontends.
type flows map[Frontend]bool

func (f flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	addr, ok := addrOf(flow.Forward.DstIP)
	return ok && (f[Frontend{addr, v1.ProtocolUDP, flow.Forward.DstPort}] || f[Frontend{Protocol: v1.ProtocolUDP, Port: flow.Forward.DstPort}])
}

func addrOf(ip net.IP) (netip.Addr, bool) { return netip.AddrFromSlice(ip.To4()) }
