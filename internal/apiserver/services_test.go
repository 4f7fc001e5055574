package apiserver_test

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func TestServiceAddresses(t *testing.T) {
	s := apitest.Start(t, func(c *apiserver.Config) { c.AdvertiseAddress = netip.MustParseAddr("192.0.2.7") })
	ctx := t.Context()
	services := s.Client.CoreV1().Services("default")
	own, err := services.Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || own.Spec.ClusterIP != "10.43.0.1" {
		t.Fatalf("kubernetes service: %v, %v", own, err)
	}
	slice, err := s.Client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || len(slice.Endpoints) != 1 || slice.Endpoints[0].Addresses[0] != "192.0.2.7" {
		t.Fatalf("kubernetes endpoints: %v, %v", slice, err)
	}

	service := func(name, ip string, nodePort int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: ip,
			Ports: []corev1.ServicePort{{Port: 80, NodePort: nodePort}}, Selector: map[string]string{"a": "b"}}}
	}
	a, err := services.Create(ctx, service("a", "", 0), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	port := a.Spec.Ports[0].NodePort
	if !netip.MustParsePrefix("10.43.0.0/16").Contains(netip.MustParseAddr(a.Spec.ClusterIP)) || port < 30000 {
		t.Errorf("allocated %s and %d", a.Spec.ClusterIP, port)
	}
	if _, err := services.Create(ctx, service("b", a.Spec.ClusterIP, 0), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a taken address: %v, want invalid", err)
	}
	if _, err := services.Create(ctx, service("b", "", port), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a taken port: %v, want invalid", err)
	}
	if _, err := s.Client.NetworkingV1().IPAddresses().Get(ctx, a.Spec.ClusterIP, metav1.GetOptions{}); err != nil {
		t.Errorf("no IPAddress: %v", err)
	}
	if err := services.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := services.Create(ctx, service("b", a.Spec.ClusterIP, port), metav1.CreateOptions{}); err != nil {
		t.Errorf("what was given back can't be taken: %v", err)
	}
	addresses, err := s.Client.NetworkingV1().IPAddresses().List(ctx, metav1.ListOptions{})
	if err != nil || len(addresses.Items) != 2 {
		t.Errorf("%d addresses taken, want 2: a refused service keeps none (%v)", len(addresses.Items), err)
	}
}
