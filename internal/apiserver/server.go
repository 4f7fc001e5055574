package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	extensionserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/aggregation"
	"github.com/proa-project/proa/internal/apiserver/alloc"
	"github.com/proa-project/proa/internal/apiserver/authz"
	"github.com/proa-project/proa/internal/apiserver/inprocess"
	"github.com/proa-project/proa/internal/apiserver/openapi"
	"github.com/proa-project/proa/internal/apiserver/registry"
	"github.com/proa-project/proa/internal/apiserver/token"
)

// Server is the API server. Make it with New, run it with Run.
type Server struct {
	config    Config
	log       *slog.Logger
	scheme    *registry.Scheme
	backend   *registry.Backend
	converter *openapi.Converter
	openapi   *openapi.Handler
	generic   *genericserver.GenericAPIServer
	crds      *extensionserver.CustomResourceDefinitions
	stores    map[string]*registry.Store // by resource.group; complete once New returned
	client    kubernetes.Interface       // in process, may do everything
	informers informers.SharedInformerFactory
	rbac      *authz.RBAC
	issuer    *token.Issuer
	tokens    *token.Authenticator
	ports     *alloc.Ports
	lookup    token.Stores // filled with the stores
	handler   lateHandler

	groups             *groupList // that come and go
	ownMutex           sync.Mutex
	own                map[schema.GroupVersion]published // what is built in; complete once New returned
	aggregator         *aggregation.Aggregator
	definitionsChanged chan struct{} // holds at most one
	ready              chan struct{}
	settled            chan struct{} // the stock roles are there too
	stopped            chan struct{} // Run is over
	life               context.Context
	end                context.CancelFunc // of life
}

// New builds everything: when it returns, LoopbackConfig may be handed out, but
// requests are answered from Run on. ctx bounds the building.
func New(ctx context.Context, c Config) (*Server, error) {
	c.setDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c, log: c.Logger, ready: make(chan struct{}), settled: make(chan struct{}), stopped: make(chan struct{}), stores: map[string]*registry.Store{},
		own: map[schema.GroupVersion]published{}, definitionsChanged: make(chan struct{}, 1)}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.build(ctx); err != nil {
		s.end()
		if s.backend != nil {
			s.backend.Stop()
		}
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	return s, nil
}

func (s *Server) build(context.Context) (err error) {
	if s.scheme, err = newScheme(s.config.Resources); err != nil {
		return err
	}
	if err := s.buildClients(); err != nil {
		return err
	}
	s.backend = registry.NewBackend(s.config.Etcd)
	keyServers, err := s.encrypt(s.life)
	if err != nil {
		return err
	}
	s.converter = openapi.NewConverter(s.scheme.Scheme)
	s.aggregator = s.newAggregator()
	generic, err := s.genericConfig()
	if err != nil {
		return err
	}
	generic.AddHealthChecks(keyServers...)
	s.openapi = openapi.NewHandler()
	s.openapi.Others = s.aggregator
	if s.crds, err = s.extensions(generic); err != nil {
		return err
	}
	s.generic, err = generic.Complete(nil).New("proa-apiserver", s.crds.GenericAPIServer)
	if err != nil {
		return err
	}
	s.generic.ShutdownTimeout = shutdownTimeout
	if err := s.install(generic); err != nil {
		return err
	}
	s.groups = newGroupList(s.generic.DiscoveryGroupManager)
	if err := s.followCustomGroups(s.noteDefinitions); err != nil {
		return err
	}
	s.openapi.Install(s.generic.Handler.NonGoRestfulMux)
	if err := s.installOpenID(); err != nil {
		return err
	}
	s.handler.set(s.generic.Handler)
	return nil
}

// buildClients makes what the server's own parts use to look at its objects.
func (s *Server) buildClients() (err error) {
	if s.client, err = kubernetes.NewForConfig(s.LoopbackConfig()); err != nil {
		return err
	}
	s.informers = informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTransform(trim))
	roles := s.informers.Rbac().V1()
	s.rbac = &authz.RBAC{
		Roles: roles.Roles().Lister(), RoleBindings: roles.RoleBindings().Lister(),
		ClusterRoles: roles.ClusterRoles().Lister(), ClusterRoleBindings: roles.ClusterRoleBindings().Lister(),
	}
	if s.issuer, err = token.NewIssuer(s.config.ServiceAccountIssuer, s.config.APIAudiences, s.config.ServiceAccountKeys); err != nil {
		return err
	}
	s.tokens = token.NewAuthenticator(s.issuer, &s.lookup)
	return nil
}

// installOpenID serves what relying parties need to verify service-account tokens.
func (s *Server) installOpenID() error {
	configuration, err := s.issuer.Configuration(s.generic.ExternalAddress)
	if err != nil {
		return err
	}
	keys, err := s.issuer.Keys()
	if err != nil {
		return err
	}
	s.generic.Handler.NonGoRestfulMux.Handle(token.ConfigurationPath, configuration)
	s.generic.Handler.NonGoRestfulMux.Handle(token.KeysPath, keys)
	return nil
}

// trim drops what no component reads and everybody would keep in memory.
func trim(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

// Informers is the factory that this server uses itself, as all components of
// the process may: one cache of everything. Its objects are read-only and have
// no managed fields. Run starts what was asked for until then; who asks later
// calls Start on it.
func (s *Server) Informers() informers.SharedInformerFactory { return s.informers }

// Issuer signs service-account tokens.
func (s *Server) Issuer() *token.Issuer { return s.issuer }

// Ready is closed when every request can be answered.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx is done and returns when all has ended.
func (s *Server) Run(parent context.Context) error {
	defer s.end()
	defer s.backend.Stop()
	defer close(s.stopped)
	prepared := s.generic.PrepareRun()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	wg.Go(func() {
		if err := s.converter.Warm(); err != nil {
			cancel(fmt.Errorf("type converter: %w", err))
		}
	})
	wg.Go(func() {
		if err := s.start(ctx); err != nil && ctx.Err() == nil {
			cancel(fmt.Errorf("bootstrap: %w", err))
		}
	})
	defer s.informers.Shutdown()
	defer s.crds.Informers.Shutdown()
	err := prepared.RunWithContext(ctx)
	if err == nil && parent.Err() == nil { // nobody asked for the end
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("apiserver: %w", err)
	}
	return nil
}

// start makes what must exist before the first client, then what may come
// after, and stays to keep it.
func (s *Server) start(ctx context.Context) error {
	if err := s.backend.WaitReady(ctx); err != nil {
		return err
	}
	s.informers.Start(ctx.Done())
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	if r := s.informers.WaitForCacheSyncWithContext(ctx); r.Err != nil {
		return r.Err
	}
	close(s.ready)
	if err := s.bootstrapRoles(ctx); err != nil {
		return err
	}
	close(s.settled)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.aggregator.Run(ctx) })
	wg.Go(func() { s.keepLocalAPIs(ctx) })
	s.keepKubernetesService(ctx)
	return nil
}

// noteDefinitions: custom resources came or went.
func (s *Server) noteDefinitions() {
	select {
	case s.definitionsChanged <- struct{}{}:
	default:
	}
}

// LoopbackConfig is a client of this server in the same process, as
// system:apiserver, who may do everything.
func (s *Server) LoopbackConfig() *rest.Config {
	return s.ConfigFor(user.APIServerUser, user.SystemPrivilegedGroup)
}

// ConfigFor is a client of this server in the same process, with the name and
// groups given (system:authenticated comes by itself).
func (s *Server) ConfigFor(name string, groups ...string) *rest.Config {
	return &rest.Config{
		Host: "https://kubernetes.default.svc",
		ContentConfig: rest.ContentConfig{
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
			ContentType:        "application/vnd.kubernetes.protobuf",
		},
		UserAgent:          name,
		QPS:                -1, // a limit here would only queue what the server limits anyway
		DisableCompression: true,
		Transport: &inprocess.Transport{
			Handler: &s.handler,
			User:    &user.DefaultInfo{Name: name, Groups: append(groups[:len(groups):len(groups)], user.AllAuthenticated)},
		},
	}
}

// lateHandler lets clients be made before the handler chain is: parts of the
// chain (authorizer, admission) are clients themselves.
type lateHandler struct {
	once sync.Once
	set_ chan struct{}
	h    http.Handler
}

func (l *lateHandler) init() { l.once.Do(func() { l.set_ = make(chan struct{}) }) }

func (l *lateHandler) set(h http.Handler) {
	l.init()
	l.h = h
	close(l.set_)
}

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.init()
	select {
	case <-l.set_:
		l.h.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}
