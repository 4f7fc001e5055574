package apiserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/proa-project/proa/internal/apiserver/objects"
)

// serviceResolver finds where webhooks and aggregated APIs are: at a ready
// endpoint of their service, so that no service proxy is needed on the way.
type serviceResolver struct{ s *Server }

func (s *Server) services() serviceResolver { return serviceResolver{s} }

func (r serviceResolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	ctx := context.Background()
	service, err := objects.Get[*corev1.Service](ctx, r.s.stores["services"], namespace, name)
	if err != nil {
		return nil, err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return endpointURL(service.Spec.ExternalName, port), nil
	}
	portName, found := "", false
	for _, p := range service.Spec.Ports {
		if p.Port == port {
			portName, found = p.Name, true
		}
	}
	if !found {
		return nil, fmt.Errorf("no service port %d found for service %q", port, name)
	}
	slices, err := objects.List[*discoveryv1.EndpointSlice](ctx, r.s.stores["endpointslices.discovery.k8s.io"], namespace)
	if err != nil {
		return nil, err
	}
	if ready := readyEndpoints(slices, name, portName); len(ready) > 0 {
		return ready[rand.IntN(len(ready))], nil
	}
	return nil, fmt.Errorf("no endpoints available for service %q", name)
}

func readyEndpoints(slices []*discoveryv1.EndpointSlice, service, port string) (out []*url.URL) {
	for _, s := range slices {
		if s.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, p := range s.Ports {
			if p.Port == nil || (p.Name == nil && port != "") || (p.Name != nil && *p.Name != port) {
				continue
			}
			for _, e := range s.Endpoints {
				if (e.Conditions.Ready == nil || *e.Conditions.Ready) && len(e.Addresses) > 0 {
					out = append(out, endpointURL(e.Addresses[0], *p.Port))
				}
			}
		}
	}
	return out
}

func endpointURL(host string, port int32) *url.URL {
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))}
}

// newestVersionFirst orders API versions as discovery does: v2, v1, v1beta1, v1alpha1.
func newestVersionFirst(a, b string) int { return -version.CompareKubeAwareVersionStrings(a, b) }
