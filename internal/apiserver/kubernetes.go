package apiserver

import (
	"context"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/proa-project/proa/internal/apiserver/alloc"
	"github.com/proa-project/proa/internal/apiserver/objects"
)

// The "kubernetes" service is how pods reach this server. No controller may
// write it: the server is the one who knows where it is.
const (
	kubernetesName = "kubernetes"
	kubernetesPort = 443
	httpsName      = "https"

	// How often it is looked at whether somebody changed it; a look is a few map look-ups.
	kubernetesCheck = 10 * time.Second
)

// serviceCIDR makes the object that shows the configured ranges.
func (s *Server) serviceCIDR(ctx context.Context) error {
	c := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: kubernetesName}}
	for _, r := range s.config.ServiceCIDRs {
		c.Spec.CIDRs = append(c.Spec.CIDRs, r.String())
	}
	d := direct{s}
	if err := ensure(ctx, d, "servicecidrs.networking.k8s.io", c, nil); err != nil {
		return err
	}
	return ensureVia(ctx, d, "servicecidrs.networking.k8s.io", s.stores["servicecidrs.networking.k8s.io"].Sub("status").Standard(), c, func(have *networkingv1.ServiceCIDR) bool {
		return meta.SetStatusCondition(&have.Status.Conditions, metav1.Condition{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, Reason: "Configured", Message: "Kubernetes default Service CIDR is ready"})
	})
}

// keepKubernetesService holds the service and its endpoints as they must be.
func (s *Server) keepKubernetesService(ctx context.Context) {
	tick := time.NewTicker(kubernetesCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.kubernetesService(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("the kubernetes service is not as it must be", "err", err)
			}
		}
	}
}

func (s *Server) kubernetesService(ctx context.Context) error {
	port, err := s.port()
	if err != nil {
		return err
	}
	d := direct{s}
	if err := ensure(ctx, d, "services", s.wantService(port), nil); err != nil {
		return err
	}
	slice := s.wantSlice(port)
	if have, err := objects.Get[*discoveryv1.EndpointSlice](ctx, s.stores[slicesResource], slice.Namespace, slice.Name); err == nil && have.AddressType != slice.AddressType {
		if err := d.delete(ctx, slicesResource, slice.Namespace, slice.Name); err != nil { // the type can't be changed
			return err
		}
	}
	err = ensure(ctx, d, slicesResource, slice, func(have *discoveryv1.EndpointSlice) bool {
		if equality.Semantic.DeepEqual(have.Endpoints, slice.Endpoints) && equality.Semantic.DeepEqual(have.Ports, slice.Ports) {
			return false
		}
		have.Endpoints, have.Ports, have.Labels = slice.Endpoints, slice.Ports, slice.Labels
		return true
	})
	if err != nil {
		return err
	}
	endpoints := s.wantEndpoints(port)
	return ensure(ctx, d, "endpoints", endpoints, func(have *corev1.Endpoints) bool { //nolint:staticcheck // deprecated, and still read by many
		if equality.Semantic.DeepEqual(have.Subsets, endpoints.Subsets) {
			return false
		}
		have.Subsets, have.Labels = endpoints.Subsets, endpoints.Labels
		return true
	})
}

const slicesResource = "endpointslices.discovery.k8s.io"

func (s *Server) port() (int32, error) {
	_, text, err := net.SplitHostPort(s.config.Listener.Addr().String())
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err
}

func (s *Server) wantService(port int32) *corev1.Service {
	single := corev1.IPFamilyPolicySingleStack
	ip := alloc.First(s.config.ServiceCIDRs[0]).String()
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: kubernetesName, Namespace: metav1.NamespaceDefault, Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{
			Ports:     []corev1.ServicePort{{Name: httpsName, Protocol: corev1.ProtocolTCP, Port: kubernetesPort, TargetPort: intstr.FromInt32(port)}},
			ClusterIP: ip, ClusterIPs: []string{ip},
			IPFamilyPolicy: &single, SessionAffinity: corev1.ServiceAffinityNone, Type: corev1.ServiceTypeClusterIP,
		},
	}
}

// reachable: a loopback address is nothing that pods can reach, and the API
// refuses to have it in endpoints. Then there are none.
func (s *Server) reachable() bool {
	return s.config.AdvertiseAddress.IsValid() && s.config.AdvertiseAddress.IsGlobalUnicast()
}

func (s *Server) wantSlice(port int32) *discoveryv1.EndpointSlice {
	name, tcp, ready := httpsName, corev1.ProtocolTCP, true
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: kubernetesName, Namespace: metav1.NamespaceDefault, Labels: map[string]string{discoveryv1.LabelServiceName: kubernetesName}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &tcp, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{},
	}
	if s.config.AdvertiseAddress.Is6() {
		slice.AddressType = discoveryv1.AddressTypeIPv6
	}
	if s.reachable() {
		slice.Endpoints = []discoveryv1.Endpoint{{
			Addresses:  []string{s.config.AdvertiseAddress.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}}
	}
	return slice
}

func (s *Server) wantEndpoints(port int32) *corev1.Endpoints { //nolint:staticcheck // as above
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{ //nolint:staticcheck // as above
		Name: kubernetesName, Namespace: metav1.NamespaceDefault, Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}}}
	if s.reachable() {
		e.Subsets = []corev1.EndpointSubset{{ //nolint:staticcheck // as above
			Addresses: []corev1.EndpointAddress{{IP: s.config.AdvertiseAddress.String()}},
			Ports:     []corev1.EndpointPort{{Name: httpsName, Port: port, Protocol: corev1.ProtocolTCP}},
		}}
	}
	return e
}
