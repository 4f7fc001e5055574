// Package app is the composition root: it makes every component, joins them, and
// starts and stops them in order. Nothing but main imports it.
//
//	lock ─▶ cluster.json ─┬▶ etcd ──────┐
//	                      ├▶ keys       ├▶ API server ─▶ informers ─▶ scheduler, controllers
//	                      ├▶ keeper     │                     └─────▶ node agent ─▶ Ready
//	                      ├▶ images ────┼▶ CRI service ──────────────────┘
//	                      └▶ network ───┘
//
// On a node whose control plane is elsewhere, the upper row is one step (agent.go):
//
//	lock ─▶ cluster.json ─▶ joined, certificates ─▶ informers ─▶ node agent ─▶ Ready
//
// Stopping goes the other way round and ends no container: pods live on in the
// keeper and are found again at the next start.
package app

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"golang.org/x/sync/errgroup"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/cli"
	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/dns"
	"github.com/proa-project/proa/internal/etcd"
	"github.com/proa-project/proa/internal/join"
	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/kit/version"
	"github.com/proa-project/proa/internal/network"
	"github.com/proa-project/proa/internal/node"
	"github.com/proa-project/proa/internal/node/settings"
	"github.com/proa-project/proa/internal/node/shutdown"
	"github.com/proa-project/proa/internal/pki"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// server is what runs of a cluster in this process: all of it, or one node.
type server struct {
	config  cli.ServerConfig
	layout  layout.Layout
	cluster cluster
	// settings are the user's for the node, once start has read them.
	settings *settings.Settings
	log      *slog.Logger

	// What start makes, in parallel; see the diagram above.
	etcd        *etcd.Store
	credentials *credentials // of the control plane; nil on a node without
	member      *join.Member // of a cluster elsewhere; nil where the control plane is here
	keeper      *keeper.Client
	images      *images.Store
	network     *network.Network
	api         *apiserver.Server
	dns         *dns.Server
	closers     []func() error // of parts made later, the last one closed first

	mu        sync.Mutex
	agent     *node.Agent // nil until made
	pending   pending     // how to ask the scheduler
	shutdown  *shutdown.Manager
	ready     bool
	keeperPID int
}

// Run runs a whole cluster, or one node of it, until ctx ends or a component fails.
func Run(ctx context.Context, c cli.ServerConfig) error { return run(ctx, c, (*server).start) }

// starter brings components up; it returns when all of them are ready.
type starter func(s *server, ctx context.Context, components *errgroup.Group) error

func run(ctx context.Context, c cli.ServerConfig, start starter) error {
	if os.Geteuid() != 0 {
		return errors.New("proa makes namespaces and mounts: run it as root (sudo)")
	}
	setUpLogs()
	if err := c.Layout.Make(); err != nil {
		return err
	}
	unlock, err := awaitLock(ctx, c.Layout.Lock())
	if err != nil {
		return err
	}
	defer unlock()
	s := &server{config: c, layout: c.Layout, log: slog.Default()}
	if s.cluster, err = loadCluster(c.Layout.Cluster(), c); err != nil {
		return err
	}
	return s.run(ctx, start)
}

func (s *server) run(ctx context.Context, start starter) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	components, ctx := errgroup.WithContext(ctx)
	mux := http.NewServeMux()
	control.HandleWhy(mux, s.why)
	control.HandleRefusals(mux, s.refusals)
	control.HandleProfiles(mux)
	control.HandleShutdown(mux, s.shutDown)
	components.Go(func() error { return control.Serve(ctx, s.layout.Control(), mux, s.status, stop) })

	err := start(s, ctx, components)
	if err != nil {
		stop()
	}
	failure := components.Wait()
	s.close()
	if err == nil {
		err = failure
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// startGC is the heap's growth in percent between collections while starting.
const startGC = 400

// start brings everything up; it returns when the node is Ready.
func (s *server) start(ctx context.Context, components *errgroup.Group) error {
	began := time.Now()
	// The start makes little garbage that is worth a collection; a third of its
	// CPU would go there.
	usual := debug.SetGCPercent(startGC)
	defer debug.SetGCPercent(usual)
	if err := s.readSettings(); err != nil {
		return err
	}
	if s.cluster.Server != "" {
		return s.startAgent(ctx, components)
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.log.Info("Prepared", "after", time.Since(began))
	if err := s.startAPI(ctx, components); err != nil {
		return err
	}
	s.log.Info("API server is ready", "after", time.Since(began))
	if err := s.startComponents(ctx, components); err != nil {
		return err
	}
	s.log.Info("Node is ready", "after", time.Since(began))
	s.started(ctx, components)
	return nil
}

// started tells that all is ready, and begins what goes on from then.
func (s *server) started(ctx context.Context, components *errgroup.Group) {
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	s.config.Ready()
	components.Go(func() error {
		if err := keepSmall(ctx); err != nil {
			s.log.Warn("Memory was not given back", "err", err)
		}
		return nil
	})
	if s.keeper != nil {
		components.Go(func() error { return s.guardKeeper(ctx) })
	}
}

// prepare does, side by side, everything that needs no API server.
func (s *server) prepare(ctx context.Context) error {
	s.config.Progress("Starting etcd, the keeper and the image store")
	var g errgroup.Group
	g.Go(func() (err error) {
		c, err := s.etcdConfig()
		if err != nil {
			return err
		}
		s.etcd, err = etcd.Start(ctx, c)
		return err
	})
	g.Go(func() (err error) {
		s.credentials, err = makeCredentials(s.layout.PKI(), s.cluster)
		return err
	})
	g.Go(s.openNetwork)
	if s.config.CRISocket == "" {
		g.Go(func() error { return s.openRuntime(ctx) })
	}
	return g.Wait()
}

// etcdConfig is the embedded one, unless the user named a cluster outside.
func (s *server) etcdConfig() (etcd.Config, error) {
	outside := s.cluster.Etcd
	if outside == nil {
		return etcd.Config{Dir: s.layout.Etcd()}, nil
	}
	c := etcd.Config{Endpoints: outside.Endpoints}
	if outside.CAFile == "" && outside.CertFile == "" && outside.KeyFile == "" {
		return c, nil
	}
	info := transport.TLSInfo{TrustedCAFile: outside.CAFile, CertFile: outside.CertFile, KeyFile: outside.KeyFile}
	var err error
	if c.TLS, err = info.ClientConfig(); err != nil {
		return c, fmt.Errorf("--etcd-cafile, --etcd-certfile, --etcd-keyfile: %w", err)
	}
	return c, nil
}

func (s *server) openNetwork() (err error) {
	s.network, err = network.New(network.Config{
		ClusterID:   s.layout.ID,
		PodCIDR:     s.cluster.podRange(),
		ClusterCIDR: s.cluster.Ranges.Cluster,
		ServiceCIDR: s.cluster.Ranges.Service,
		StateDir:    s.layout.Network(),
	})
	return err
}

// openRuntime opens what our own container runtime stands on.
func (s *server) openRuntime(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		binaries, err := binariesDir(s.layout)
		if err != nil {
			return err
		}
		if s.keeper, err = openKeeper(ctx, s.layout, binaries); err != nil {
			return err
		}
		v, err := s.keeper.Version(ctx)
		if err != nil {
			return fmt.Errorf("keeper: %w", err)
		}
		s.mu.Lock()
		s.keeperPID = v.PID
		s.mu.Unlock()
		return nil
	})
	g.Go(func() (err error) {
		s.images, err = images.Open(ctx, images.Config{Root: s.layout.Images(), RegistriesConfigPath: s.layout.Registries()})
		return err
	})
	return g.Wait()
}

func (s *server) startAPI(ctx context.Context, components *errgroup.Group) error {
	s.config.Progress("Starting the API server")
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(s.cluster.APIPort))
	if err != nil {
		return fmt.Errorf("API server: %w; stop what listens there, or name another port with --api-port", err)
	}
	cert, key, err := pki.PEM(s.credentials.serving)
	if err != nil {
		return err
	}
	// The authority goes along: machines that join know it by its hash alone.
	cert = append(cert, s.credentials.authority.CertPEM()...)
	asProxy, err := s.credentials.proxy()
	if err != nil {
		return err
	}
	s.api, err = apiserver.New(ctx, apiserver.Config{
		Etcd:               s.etcd.Client(),
		Listener:           listener,
		ServingCert:        cert,
		ServingKey:         key,
		ClientCA:           s.credentials.authority.CertPEM(),
		Proxy:              asProxy,
		ServiceAccountKeys: []crypto.Signer{s.credentials.authority.ServiceAccountKey},
		AdvertiseAddress:   s.cluster.nodeAddr(),
		ServiceCIDRs:       []netip.Prefix{s.cluster.Ranges.Service},
		Kubelet: &tls.Config{
			Certificates: []tls.Certificate{s.credentials.toKubelet},
			RootCAs:      s.credentials.authority.Pool(),
			MinVersion:   tls.VersionTLS12,
		},
		Audit:          s.audit(),
		EncryptionFile: s.encryption(),
		Logger:         s.log,
	})
	if err != nil {
		listener.Close()
		return err
	}
	components.Go(func() error { return s.api.Run(ctx) })
	if err := s.credentials.writeKubeconfig(s.cluster.url(), s.layout.Kubeconfig(), s.config.Kubeconfig); err != nil {
		return err
	}
	select {
	case <-s.api.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) status() control.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := control.Status{
		Running:   true,
		Ready:     s.ready,
		PID:       os.Getpid(),
		KeeperPID: s.keeperPID,
		Node:      s.cluster.Node,
		DataDir:   s.layout.Data,
		CRISocket: s.layout.CRI(),
		Version:   version.Proa,
	}
	if s.member != nil {
		st.APIServer = s.cluster.url()
	}
	if s.api != nil {
		st.APIServer, st.Kubeconfig = s.cluster.url(), s.layout.Kubeconfig()
	}
	if s.config.CRISocket != "" {
		st.CRISocket = s.config.CRISocket
	}
	return st
}

// why explains pods, once there is a node agent.
func (s *server) why(namespace, name string) []node.Explanation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agent == nil {
		return nil
	}
	return s.agent.Why(namespace, name)
}

// close lets go of what prepare made, after all components have returned.
func (s *server) close() {
	var failed []error
	for _, c := range slices.Backward(s.closers) {
		failed = append(failed, c())
	}
	if s.images != nil {
		failed = append(failed, s.images.Close())
	}
	if s.keeper != nil {
		failed = append(failed, s.keeper.Close())
	}
	if s.etcd != nil {
		failed = append(failed, s.etcd.Close())
	}
	if err := errors.Join(failed...); err != nil {
		s.log.Warn("Stopping left something open", "err", err)
	}
}
