package apiserver

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/proa-project/proa/internal/apiserver/alloc"
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
	c := s.client.NetworkingV1().ServiceCIDRs()
	if _, err := c.Get(ctx, kubernetesName, metav1.GetOptions{ResourceVersion: "0"}); err == nil {
		return nil
	}
	obj := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: kubernetesName}}
	for _, r := range s.config.ServiceCIDRs {
		obj.Spec.CIDRs = append(obj.Spec.CIDRs, r.String())
	}
	made, err := c.Create(ctx, obj, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("service CIDR: %w", err)
	}
	meta.SetStatusCondition(&made.Status.Conditions, metav1.Condition{
		Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, Reason: "Configured", Message: "Kubernetes default Service CIDR is ready"})
	if _, err = c.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("service CIDR: %w", err)
	}
	return nil
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
	services := s.client.CoreV1().Services(metav1.NamespaceDefault)
	if _, err := services.Get(ctx, kubernetesName, metav1.GetOptions{ResourceVersion: "0"}); err != nil {
		_, err = services.Create(ctx, s.wantService(port), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("service %s: %w", kubernetesName, err)
		}
	}
	if err := s.keepSlice(ctx, s.wantSlice(port)); err != nil {
		return fmt.Errorf("endpoint slice %s: %w", kubernetesName, err)
	}
	if err := s.keepEndpoints(ctx, s.wantEndpoints(port)); err != nil {
		return fmt.Errorf("endpoints %s: %w", kubernetesName, err)
	}
	return nil
}

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

func (s *Server) wantEndpoints(port int32) *corev1.Endpoints { //nolint:staticcheck // deprecated, and still read by many
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

func (s *Server) keepSlice(ctx context.Context, want *discoveryv1.EndpointSlice) error {
	c := s.client.DiscoveryV1().EndpointSlices(want.Namespace)
	have, err := c.Get(ctx, want.Name, metav1.GetOptions{ResourceVersion: "0"})
	switch {
	case apierrors.IsNotFound(err):
		_, err = c.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && have.AddressType != want.AddressType: // it can't be changed
		if err = c.Delete(ctx, want.Name, metav1.DeleteOptions{}); err == nil {
			_, err = c.Create(ctx, want, metav1.CreateOptions{})
		}
	case err == nil && !(equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports)):
		have.Endpoints, have.Ports, have.Labels = want.Endpoints, want.Ports, want.Labels
		_, err = c.Update(ctx, have, metav1.UpdateOptions{})
	}
	return err
}

func (s *Server) keepEndpoints(ctx context.Context, want *corev1.Endpoints) error { //nolint:staticcheck // as above
	c := s.client.CoreV1().Endpoints(want.Namespace)
	have, err := c.Get(ctx, want.Name, metav1.GetOptions{ResourceVersion: "0"})
	switch {
	case apierrors.IsNotFound(err):
		_, err = c.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && !equality.Semantic.DeepEqual(have.Subsets, want.Subsets):
		have.Subsets, have.Labels = want.Subsets, want.Labels
		_, err = c.Update(ctx, have, metav1.UpdateOptions{})
	}
	return err
}
