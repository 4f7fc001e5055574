package app

import (
	"context"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/proa-project/proa/internal/dns"
	"github.com/proa-project/proa/internal/proxy"
)

// startServices makes the addresses and names of services work on this node.
func (s *server) startServices(ctx context.Context, h *hub, components *errgroup.Group) error {
	services, err := proxy.New(proxy.Config{
		ClusterID: s.layout.ID, Node: s.cluster.Node, Pods: []netip.Prefix{s.cluster.Ranges.Cluster}, Services: []netip.Prefix{s.cluster.Ranges.Service},
		Informers: h.informers, Recorder: h.recorder("kube-proxy", s.cluster.Node), Log: s.log,
	})
	if err != nil {
		return err
	}
	components.Go(func() error { return services.Run(ctx) })
	s.dns, err = dns.New(dns.Config{
		Addr: s.cluster.nodeAddr(), ServiceIPs: s.cluster.dnsAddrs(), Domain: s.settings.ClusterDomain, Own: s.cluster.own(),
		ResolvConf: s.settings.ResolvConf, Informers: h.informers, Log: s.log,
	})
	if err != nil {
		return err
	}
	components.Go(func() error { return s.dns.Run(ctx) })
	return nil
}
