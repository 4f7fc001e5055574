package app

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/network"
)

// machineAnnotation of a node: the address of its machine, where other machines
// reach it. The node's own address is of its pod range and tells nothing of that.
const machineAnnotation = "proa.dev/machine-address"

// roamEvery is how soon a machine notices that its address, or the server's, is
// another one.
const roamEvery = 10 * time.Second

// machine is what is known of the machines: the own address that others may use,
// and the one that the control plane's is reached at. Either may be invalid.
type machine struct{ own, server netip.Addr }

// machine as it is now. A machine with the control plane is reached at the address
// that the others know anyway, unless the user names another.
func (s *server) machine(ctx context.Context) (m machine) {
	if s.member != nil {
		var err error
		if m.server, m.own, err = s.member.Addr(ctx); err != nil {
			s.log.Warn("The way to the server is not known", "err", err)
		}
	}
	if s.config.NodeIP.IsValid() {
		m.own = s.config.NodeIP
	}
	return m
}

// startWays keeps ways to the pods of all other nodes.
func (p *nodeParts) startWays(ctx context.Context, components *errgroup.Group) error {
	id := sha256.Sum256(p.authority().Raw)
	tunnel := network.NewTunnel(p.layout.ID, binary.BigEndian.Uint32(id[:]), p.cluster.podRange())
	nodes := p.hub.informers.Core().V1().Nodes()
	changed := make(chan struct{}, 1)
	ring := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	registration, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: ring, UpdateFunc: func(_, o any) { ring(o) }, DeleteFunc: ring,
	})
	if err != nil {
		return err
	}
	components.Go(func() error {
		if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			return nil
		}
		roam := time.NewTicker(roamEvery)
		defer roam.Stop()
		known := p.machine(ctx)
		for {
			all, err := nodes.Lister().List(labels.Everything())
			if err == nil {
				err = tunnel.Sync(waysTo(all, p.cluster.Node, p.cluster.podRange(), known.server))
			}
			if err != nil {
				p.log.Warn("Some nodes' pods can't be reached", "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			case <-roam.C:
				known = p.roamed(ctx, known)
			}
		}
	})
	return nil
}

// roamed tells the others when this machine's address is another one.
func (p *nodeParts) roamed(ctx context.Context, before machine) machine {
	now := p.machine(ctx)
	if !now.own.IsValid() || !now.server.IsValid() && p.member != nil {
		return before // offline: who is still there is still there
	}
	if now.own != before.own {
		p.log.Info("The machine has another address", "before", before.own, "now", now.own)
		p.registrar.Annotate(machineAnnotation, now.own.String())
	}
	return now
}

// waysTo the pods of the other nodes. A node that does not say where its machine is
// has the control plane's. Of two that claim the same addresses, the older has them.
func waysTo(nodes []*v1.Node, self string, own netip.Prefix, server netip.Addr) (peers []network.Peer) {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b *v1.Node) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	taken := []netip.Prefix{own}
	for _, n := range nodes {
		pods, err := netip.ParsePrefix(n.Spec.PodCIDR)
		if err != nil || n.Name == self || !pods.Addr().Is4() || slices.ContainsFunc(taken, pods.Overlaps) {
			continue
		}
		at, err := netip.ParseAddr(n.Annotations[machineAnnotation])
		if err != nil {
			at = server
		}
		if !at.Is4() {
			continue
		}
		taken = append(taken, pods)
		peers = append(peers, network.Peer{Pods: pods.Masked(), Machine: at})
	}
	return peers
}
