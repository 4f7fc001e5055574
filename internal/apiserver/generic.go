package apiserver

import (
	"context"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/proa-project/proa/internal/apiserver/authn"
	"github.com/proa-project/proa/internal/apiserver/authz"
	"github.com/proa-project/proa/internal/apiserver/token"
)

// shutdownTimeout bounds the wait for requests in flight. Open watches always
// use it up: over HTTP/2 nobody tells their clients to go.
const shutdownTimeout = 500 * time.Millisecond

// genericConfig is the library's configuration. It leaves OpenAPI out: that
// is prebuilt.
func (s *Server) genericConfig() (*genericserver.Config, error) {
	g := genericserver.NewConfig(s.scheme.Codecs)
	g.EffectiveVersion = newEffectiveVersion()
	g.LoopbackClientConfig = s.LoopbackConfig()
	g.SkipOpenAPIInstallation = true
	g.EnableProfiling = false
	g.RequestTimeout = time.Minute
	g.LongRunningFunc = filters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"),
		sets.NewString("attach", "exec", "proxy", "log", "portforward"))
	g.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")

	cert, err := dynamiccertificates.NewStaticCertKeyContent("serving", s.config.ServingCert, s.config.ServingKey)
	if err != nil {
		return nil, err
	}
	g.SecureServing = &genericserver.SecureServingInfo{Listener: s.config.Listener, Cert: cert}
	g.PublicAddress = s.config.AdvertiseAddress.AsSlice() // what documents that name this server point to
	if ca := slices.Concat(s.config.ClientCA, s.config.Proxy.CA); len(ca) > 0 {
		// Here certificates are only asked for; whose are believed for what is
		// for authentication to say.
		if g.SecureServing.ClientCA, err = dynamiccertificates.NewStaticCAContent("client-ca", ca); err != nil {
			return nil, err
		}
	}
	if g.Authentication.Authenticator, err = authn.New(authn.Config{
		ClientCA: s.config.ClientCA, Tokens: union.New(s.tokens, token.Bootstrap{Lookup: &s.lookup}), ProxyCA: s.config.Proxy.CA, ProxyNames: []string{s.config.Proxy.Name},
	}); err != nil {
		return nil, err
	}
	g.Authentication.APIAudiences = s.config.APIAudiences
	if g.Authorization.Authorizer, err = authz.New(authz.NewNode(s.related()), s.rbac); err != nil {
		return nil, err
	}
	g.RuleResolver = s.rbac
	g.BuildHandlerChainFunc = func(api http.Handler, c *genericserver.Config) http.Handler {
		return genericserver.DefaultBuildHandlerChain(s.aggregated(api), c)
	}
	if g.AdmissionControl, err = s.admission(g.Authorization.Authorizer); err != nil {
		return nil, err
	}
	if err := s.config.Audit.applyTo(g); err != nil {
		return nil, err
	}

	// Without the library's "log" check, which asks whether its logger hangs and
	// leaves a goroutine behind.
	g.HealthzChecks = []healthz.HealthChecker{healthz.PingHealthz}
	g.LivezChecks = []healthz.HealthChecker{healthz.PingHealthz}
	g.ReadyzChecks = []healthz.HealthChecker{healthz.PingHealthz}
	g.AddHealthChecks(healthz.NamedCheck("etcd", func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		return s.backend.Healthy(ctx)
	}))
	g.AddReadyzChecks(healthz.NamedCheck("started", func(*http.Request) error {
		select {
		case <-s.settled:
			return nil
		default:
			return errNotStarted
		}
	}))
	return g, nil
}

var errNotStarted = startError("watch caches or default objects are not there yet")

type startError string

func (e startError) Error() string { return string(e) }
