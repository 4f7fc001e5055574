package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/controllers/noderange"
	"github.com/proa-project/proa/internal/join"
)

const (
	// sharePatience bounds the wait for the node's share of the pod range, and
	// shareEvery is how soon the server is asked for it again.
	sharePatience = time.Minute
	shareEvery    = 50 * time.Millisecond
	// serviceRange is the name of the ServiceCIDR that a cluster has from the start.
	serviceRange = "kubernetes"
)

// startAgent runs this machine as a node of a cluster whose control plane is
// elsewhere. What was settled when it joined is on disk: it starts, and its pods
// go on, also while the server is away.
func (s *server) startAgent(ctx context.Context, components *errgroup.Group) (err error) {
	began := time.Now()
	s.config.Progress("Joining the cluster at " + s.cluster.Server)
	want := s.config.Join
	s.member, err = join.Open(ctx, join.Config{
		Dir: s.layout.Join(), Server: s.cluster.Server, Node: s.cluster.Node, Token: want.Token, Pin: want.CAHash,
	})
	if err != nil {
		return err
	}
	if err := s.enroll(ctx); err != nil {
		return err
	}
	if err := s.member.Renew(ctx, s.cluster.nodeAddr()); err != nil {
		return err
	}
	s.config.Progress("Starting the keeper and the image store")
	var g errgroup.Group
	g.Go(s.openNetwork)
	if s.config.CRISocket == "" {
		g.Go(func() error { return s.openRuntime(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	h, err := s.agentHub(ctx)
	if err != nil {
		return err
	}
	if err := s.startHere(ctx, h, components); err != nil {
		return err
	}
	s.log.Info("Node is ready", "after", time.Since(began))
	s.started(ctx, components)
	return nil
}

// enroll makes the Node, the first time, and learns which addresses are its pods'.
func (s *server) enroll(ctx context.Context) error {
	if s.cluster.Pods.IsValid() {
		return nil
	}
	api, err := kubernetes.NewForConfig(s.member.Config())
	if err != nil {
		return err
	}
	// Written down before it is in the API: a crash in between does not make us
	// strangers to our own node. That nobody else has its name, the server has looked:
	// it signed our certificate.
	if err := s.cluster.save(s.layout.Cluster()); err != nil {
		return err
	}
	node, err := s.awaitShare(ctx, api)
	if err != nil {
		return err
	}
	if s.cluster.Pods, err = netip.ParsePrefix(node.Spec.PodCIDR); err != nil {
		return fmt.Errorf("the server gave the node pod addresses that are none: %w", err)
	}
	if s.cluster.Ranges.Cluster, err = netip.ParsePrefix(node.Annotations[noderange.Annotation]); err != nil {
		return fmt.Errorf("the server does not say which addresses are the cluster's: %w", err)
	}
	if s.cluster.Ranges.Service, err = s.askServiceRange(ctx); err != nil {
		return err
	}
	return s.cluster.save(s.layout.Cluster())
}

// awaitShare returns the Node once it has its share of the pod range.
func (s *server) awaitShare(ctx context.Context, api kubernetes.Interface) (*v1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, sharePatience)
	defer cancel()
	wanted := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: s.cluster.Node, Labels: s.settings.Register.Labels},
		Spec:       v1.NodeSpec{Taints: s.settings.Register.Taints},
	}
	if _, err := api.CoreV1().Nodes().Create(ctx, wanted, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("register the node: %w", err)
	}
	for {
		node, err := api.CoreV1().Nodes().Get(ctx, s.cluster.Node, metav1.GetOptions{})
		if err == nil && node.Spec.PodCIDR != "" {
			return node, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the server gives the node no pod addresses; see its log"), err)
		case <-time.After(shareEvery):
		}
	}
}

func (s *server) askServiceRange(ctx context.Context) (netip.Prefix, error) {
	api, err := kubernetes.NewForConfig(s.member.ServicesConfig())
	if err != nil {
		return netip.Prefix{}, err
	}
	r, err := api.NetworkingV1().ServiceCIDRs().Get(ctx, serviceRange, metav1.GetOptions{})
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("ask for the services' addresses: %w", err)
	}
	for _, text := range r.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("the cluster's services have no IPv4 addresses: %v", r.Spec.CIDRs)
}

// agentHub caches of pods those of this node alone: others are none of its business,
// and the API server would refuse to list them.
func (s *server) agentHub(ctx context.Context) (*hub, error) {
	own, err := kubernetes.NewForConfig(s.member.Config())
	if err != nil {
		return nil, err
	}
	services, err := kubernetes.NewForConfig(s.member.ServicesConfig())
	if err != nil {
		return nil, err
	}
	shared := informers.NewSharedInformerFactoryWithOptions(services, 0, informers.WithTransform(dropManagedFields))
	shared.InformerFor(&v1.Pod{}, func(_ kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
		return coreinformers.NewFilteredPodInformer(own, metav1.NamespaceAll, resync, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
			func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", s.cluster.Node).String()
			})
	})
	h, err := newHub(ctx, s.member.Config(), shared)
	if err != nil {
		return nil, err
	}
	h.services = services
	return h, nil
}

// dropManagedFields: no component reads them.
func dropManagedFields(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return obj, nil
}
