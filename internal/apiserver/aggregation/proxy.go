package aggregation

import (
	"errors"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/endpoints/request"
	apiproxy "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/transport"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// Handler sends requests that are for another server there, and all others to local.
func (a *Aggregator) Handler(local http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t, ok := a.current().find(r.URL.Path); ok {
			a.forward(w, r, t, r.URL.Path)
			return
		}
		local.ServeHTTP(w, r)
	})
}

// OpenAPI serves the v3 document of a group version that is another server's.
func (a *Aggregator) OpenAPI(w http.ResponseWriter, r *http.Request, groupVersion string) bool {
	t, ok := a.current().find("/" + groupVersion)
	if ok {
		a.forward(w, r, t, r.URL.Path)
	}
	return ok
}

// Remote are the group versions of other servers, as paths: apis/<group>/<version>.
func (a *Aggregator) Remote() (paths []string) {
	for gv := range a.current() {
		paths = append(paths, "apis/"+gv.String())
	}
	return paths
}

// forward a request as who it comes from.
func (a *Aggregator) forward(w http.ResponseWriter, r *http.Request, t target, path string) {
	if !t.available {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	u, ok := request.UserFrom(r.Context())
	if !ok {
		http.Error(w, "missing user", http.StatusInternalServerError)
		return
	}
	location, err := a.locate(t.service)
	if err != nil {
		a.config.Log.Warn("No way to an aggregated API's server", "service", t.service.Namespace+"/"+t.service.Name, "err", err)
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	location.Path, location.RawQuery = path, r.URL.Query().Encode()
	out, cancel := apiproxy.NewRequestForProxy(location, r)
	defer cancel()
	upgrade := httpstream.IsUpgradeRequest(r)
	carrier := transport.NewAuthProxyRoundTripper(u.GetName(), u.GetUID(), u.GetGroups(), u.GetExtra(), t.transport)
	if upgrade { // is dialled past the round tripper
		transport.SetAuthProxyHeaders(out, u.GetName(), u.GetUID(), u.GetGroups(), u.GetExtra())
	}
	h := proxy.NewUpgradeAwareHandler(location, carrier, true, upgrade, responder{})
	h.RejectForwardingRedirects = true
	h.ServeHTTP(w, out)
}

// locate an endpoint of the service.
func (a *Aggregator) locate(s registrationv1.ServiceReference) (*url.URL, error) {
	if s.Port == nil {
		return nil, errors.New("no port")
	}
	u, err := a.config.Resolve(s.Namespace, s.Name, *s.Port)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: u.Host}, nil
}

// responder says that the other server could not be spoken to.
type responder struct{}

var _ proxy.ErrorResponder = responder{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
