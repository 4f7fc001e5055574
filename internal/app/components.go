package app

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"golang.org/x/sync/errgroup"

	"github.com/proa-project/proa/internal/controllers"
	"github.com/proa-project/proa/internal/controllers/noderange"
	"github.com/proa-project/proa/internal/scheduler"
	"github.com/proa-project/proa/internal/scheduler/volumes"
)

// hub is what components share: one client each on one transport, one cache for
// all. Objects of the cache are read only.
type hub struct {
	config    *rest.Config
	client    kubernetes.Interface
	services  kubernetes.Interface // for what a node does beside running its pods
	informers informers.SharedInformerFactory
	events    record.EventBroadcaster
	clock     clock.WithTicker
}

func newHub(ctx context.Context, config *rest.Config, shared informers.SharedInformerFactory) (*hub, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	h := &hub{
		config:    config,
		client:    client,
		services:  client,
		informers: shared,
		events:    record.NewBroadcaster(record.WithContext(ctx)),
		clock:     clock.RealClock{},
	}
	h.events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return h, nil
}

// recorder of a component's events.
func (h *hub) recorder(component, host string) record.EventRecorder {
	return h.events.NewRecorder(scheme.Scheme, v1.EventSource{Component: component, Host: host})
}

// startComponents joins everything to the API server and returns when the node is Ready.
func (s *server) startComponents(ctx context.Context, components *errgroup.Group) error {
	h, err := newHub(ctx, s.api.LoopbackConfig(), s.api.Informers())
	if err != nil {
		return err
	}
	if err := s.startControl(ctx, h, components); err != nil {
		return err
	}
	return s.startHere(ctx, h, components)
}

// startHere starts what every node runs, and returns when the node is Ready.
func (s *server) startHere(ctx context.Context, h *hub, components *errgroup.Group) error {
	components.Go(func() error {
		<-ctx.Done()
		h.events.Shutdown()
		return nil
	})
	if err := s.startServices(ctx, h, components); err != nil {
		return err
	}
	ready, err := s.startNode(ctx, h, components)
	if err != nil {
		return err
	}
	h.informers.Start(ctx.Done())
	if s.images != nil {
		components.Go(func() error {
			if err := s.importQuickstart(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("The quickstart image is missing", "err", err)
			}
			return nil
		})
	}
	s.config.Progress(s.waiting())
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waiting says what the node becomes Ready by, where others must do their part.
func (s *server) waiting() string {
	what := "Waiting for the node to become Ready"
	if s.member != nil {
		what += ", by the server at " + s.cluster.Server
	}
	if s.config.CRISocket != "" {
		what += ", on the container runtime at " + s.config.CRISocket
	}
	return what
}

// startControl starts the scheduler and the controllers.
func (s *server) startControl(ctx context.Context, h *hub, components *errgroup.Group) error {
	binder, err := volumes.New(h.client, h.informers)
	if err != nil {
		return err
	}
	sched, err := scheduler.New(scheduler.Config{
		Client: h.client, Informers: h.informers, Recorder: h.recorder(scheduler.Name, ""), Clock: h.clock, Volumes: binder,
	})
	if err != nil {
		return err
	}
	components.Go(func() error { return sched.Run(ctx) })
	s.setPending(pending{sched, h.informers.Core().V1().Pods().Lister()})

	objects, err := metadata.NewForConfig(h.config)
	if err != nil {
		return err
	}
	loops, err := controllers.All(controllers.Deps{
		Client: h.client, Metadata: objects, Informers: h.informers, Clock: h.clock, CA: s.credentials.authority.CertPEM(),
		Recorder: func(component string) record.EventRecorder { return h.recorder(component, "") },
		Signer:   s.credentials.authority,
		Nodes:    &noderange.Config{Cluster: s.cluster.Ranges.Cluster, Bits: podBits, Reserved: s.cluster.podRange()},
		DNS:      s.cluster.dnsAddrs(),
	})
	if err != nil {
		return err
	}
	for _, loop := range loops {
		components.Go(func() error { return loop.Run(ctx) })
	}
	return nil
}
