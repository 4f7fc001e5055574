package aggregation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/client-go/transport"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// How often another server is asked: soon again while it does not answer.
const (
	askAgain      = time.Second
	askRegularly  = 10 * time.Second
	answerTimeout = 5 * time.Second
	longestAnswer = 8 << 20
)

// keeper keeps one APIService of another server: its route, its status and its
// place in discovery.
type keeper struct {
	aggregator *Aggregator
	name       string
	gv         schema.GroupVersion
	cancel     context.CancelFunc
	news       chan *registrationv1.APIService // the newest, if it was not taken yet

	service *registrationv1.APIService
	carrier http.RoundTripper
	answer  []byte // what discovery shows
}

// put replaces what was not taken; only one goroutine puts.
func (k *keeper) put(s *registrationv1.APIService) {
	select {
	case <-k.news:
	default:
	}
	k.news <- s
}

func (k *keeper) run(ctx context.Context) {
	defer k.leave()
	for {
		wait := askAgain
		if k.service != nil && k.look(ctx) {
			wait = askRegularly
		}
		select {
		case <-ctx.Done():
			return
		case s := <-k.news:
			k.take(s)
		case <-time.After(wait):
		}
	}
}

// leave nothing behind, unless another APIService of the name has come already.
func (k *keeper) leave() {
	a := k.aggregator
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keepers[k.name] != nil {
		return
	}
	r := a.current().without(k.gv)
	a.routes.Store(&r)
	a.config.Discovery.Withdraw(k.gv)
}

// take notes a changed APIService.
func (k *keeper) take(s *registrationv1.APIService) {
	c := k.aggregator.config
	k.service, k.answer = s, nil
	carrier, err := transport.New(&transport.Config{TLS: transport.TLSConfig{
		Insecure: s.Spec.InsecureSkipTLSVerify, CAData: s.Spec.CABundle, CertData: c.ClientCert, KeyData: c.ClientKey,
		ServerName: s.Spec.Service.Name + "." + s.Spec.Service.Namespace + ".svc",
	}})
	if err != nil {
		c.Log.Warn("An APIService's server can't be spoken to", "apiService", s.Name, "err", err)
	}
	k.carrier = carrier
}

// look at the other server and have everybody know; true when it serves.
func (k *keeper) look(ctx context.Context) bool {
	answer, found := k.ask(ctx)
	if ctx.Err() != nil {
		return false
	}
	serves := found.Status == registrationv1.ConditionTrue
	k.aggregator.change(func(r routes) routes {
		return r.with(k.gv, target{service: *k.service.Spec.Service, transport: k.carrier, available: serves && k.carrier != nil})
	})
	k.publish(answer, serves)
	err := k.aggregator.config.SetStatus(ctx, k.service.Name, func(s *registrationv1.APIServiceStatus) bool {
		found.LastTransitionTime = now()
		return set(s, found)
	})
	if err != nil && ctx.Err() == nil {
		k.aggregator.config.Log.Warn("An APIService's status could not be set", "apiService", k.service.Name, "err", err)
	}
	return serves
}

// ask the other server for its list of resources: whoever answers that, serves.
func (k *keeper) ask(ctx context.Context) ([]byte, registrationv1.APIServiceCondition) {
	ref, c := k.service.Spec.Service, k.aggregator.config
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	service, err := c.Cluster.Service(ctx, ref.Namespace, ref.Name)
	if err != nil {
		return nil, condition(registrationv1.ConditionUnknown, "ServiceAccessError", fmt.Sprintf("service/%s in %q cannot be checked due to: %v", ref.Name, ref.Namespace, err))
	}
	slices, err := c.Cluster.EndpointSlices(ctx, ref.Namespace, ref.Name)
	if err != nil {
		return nil, condition(registrationv1.ConditionUnknown, "EndpointsAccessError", fmt.Sprintf("service/%s in %q cannot be checked due to: %v", ref.Name, ref.Namespace, err))
	}
	if no := reachable(ref, service, slices); no != nil {
		return nil, *no
	}
	answer, err := k.resources(ctx)
	if err != nil {
		return nil, condition(registrationv1.ConditionFalse, "FailedDiscoveryCheck", err.Error())
	}
	return answer, passed
}

func (k *keeper) resources(ctx context.Context) ([]byte, error) {
	if k.carrier == nil {
		return nil, fmt.Errorf("its caBundle or our certificate is unusable")
	}
	u, err := k.aggregator.locate(*k.service.Spec.Service)
	if err != nil {
		return nil, err
	}
	u.Path = "/apis/" + k.gv.String()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	transport.SetAuthProxyHeaders(r, "system:kube-aggregator", "", []string{user.SystemPrivilegedGroup}, nil)
	response, err := k.carrier.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("failing or missing response from %v: %w", u, err)
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("failing or missing response from %v: bad status from %v: %d", u, u, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("failing or missing response from %v: %w", u, err)
	}
	return body, nil
}

// publish in discovery what the server says it serves, if that is news.
func (k *keeper) publish(answer []byte, serves bool) {
	d, spec := k.aggregator.config.Discovery, k.service.Spec
	if !serves {
		if k.answer != nil {
			d.Stale(k.gv)
		}
		k.answer = nil
		return
	}
	if bytes.Equal(answer, k.answer) {
		return
	}
	found, err := resourcesOf(answer)
	if err != nil {
		k.aggregator.config.Log.Warn("An aggregated API's list of resources can't be read", "apiService", k.service.Name, "err", err)
		return
	}
	k.answer = answer
	d.Publish(k.gv, int(spec.GroupPriorityMinimum), int(spec.VersionPriority), found)
}

func resourcesOf(answer []byte) ([]apidiscoveryv2.APIResourceDiscovery, error) {
	var list metav1.APIResourceList
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, err
	}
	return endpoints.ConvertGroupVersionIntoToDiscovery(list.APIResources)
}
