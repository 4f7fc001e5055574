package apiserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// otherServer answers for wardle.example.com/v1 and tells who asked.
func otherServer(t *testing.T, s *apitest.Server) (port int32) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ProxyCA)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/wardle.example.com/v1", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, metav1.APIResourceList{GroupVersion: "wardle.example.com/v1", APIResources: []metav1.APIResource{
			{Name: "flunders", SingularName: "flunder", Namespaced: true, Kind: "Flunder", Verbs: metav1.Verbs{"get", "list"}}}})
	})
	mux.HandleFunc("/apis/wardle.example.com/v1/namespaces/default/flunders/one", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"apiVersion": "wardle.example.com/v1", "kind": "Flunder", "metadata": map[string]any{
			"name": "one", "annotations": map[string]string{
				"user": r.Header.Get("X-Remote-User"), "groups": strings.Join(r.Header.Values("X-Remote-Group"), ","), "proxy": r.TLS.PeerCertificates[0].Subject.CommonName}}})
	})
	mux.HandleFunc("/openapi/v3/apis/wardle.example.com/v1", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"openapi": "3.0.0", "info": map[string]string{"title": "wardle", "version": "1"}, "paths": map[string]any{"/apis/wardle.example.com/v1/namespaces/{namespace}/flunders": map[string]any{
			"get": map[string]any{"x-kubernetes-action": "list", "x-kubernetes-group-version-kind": map[string]string{"group": "wardle.example.com", "version": "v1", "kind": "Flunder"}}}},
			"components": map[string]any{"schemas": map[string]any{
				"Flunder": map[string]any{"type": "object", "description": "A flunder flunders.",
					"x-kubernetes-group-version-kind": []map[string]string{{"group": "wardle.example.com", "version": "v1", "kind": "Flunder"}}}}}})
	})
	other := httptest.NewUnstartedServer(mux)
	other.TLS = &tls.Config{
		Certificates: []tls.Certificate{s.ServingCertificate(t, "other.default.svc")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	other.StartTLS()
	t.Cleanup(other.Close)
	_, text, err := net.SplitHostPort(other.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func TestA3AnAggregatedAPI(t *testing.T) {
	s := apitest.Start(t)
	k := newKubectl(t, s)
	port := otherServer(t, s)
	apiService, err := json.Marshal(map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.wardle.example.com"},
		"spec": map[string]any{
			"group": "wardle.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10, "caBundle": s.CA,
			"service": map[string]any{"namespace": "default", "name": "other", "port": port}},
	})
	if err != nil {
		t.Fatal(err)
	}
	k.stdin(string(apiService), "create", "-f", "-")
	eventually(t, "it says that the service is missing", func() bool {
		return strings.Contains(k.run("get", "apiservice", "v1.wardle.example.com"), "False (ServiceNotFound)")
	})
	if out := k.fails("", "get", "--raw", "/apis/wardle.example.com/v1"); !strings.Contains(out, "currently unable to handle the request") {
		t.Errorf("without a server: %s", out)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	service.Spec.Ports = []corev1.ServicePort{{Port: port}}
	if _, err := s.Client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.run("wait", "apiservice/v1.wardle.example.com", "--for=condition=Available", "--timeout=20s")
	contains(t, k.run("api-resources", "--api-group=wardle.example.com"), "flunders", "wardle.example.com/v1", "true", "Flunder")
	contains(t, k.run("get", "--raw", "/apis"), `"name":"wardle.example.com"`)
	contains(t, k.run("get", "--raw", "/apis/wardle.example.com"), `"preferredVersion":{"groupVersion":"wardle.example.com/v1"`)
	contains(t, k.run("get", "flunder", "one", "-o", "yaml"), "user: admin", "groups: system:masters,system:authenticated", "proxy: front-proxy-client")
	contains(t, k.run("explain", "flunder"), "A flunder flunders.")

	k.run("delete", "apiservice", "v1.wardle.example.com")
	eventually(t, "nothing of it is left", func() bool {
		out, err := k.try("", "get", "--raw", "/apis/wardle.example.com/v1")
		return err != nil && strings.Contains(out, "could not find the requested resource") && !strings.Contains(k.run("get", "--raw", "/apis"), "wardle")
	})
}

// What this server answers itself has APIServices too, those of custom resources
// as long as they are there.
func TestA3LocalAPIServices(t *testing.T) {
	s := apitest.Start(t)
	k := newKubectl(t, s)
	listed := func() string { return k.run("get", "apiservices", "-o", "name") }
	eventually(t, "the built-in ones", func() bool { return strings.Contains(listed(), "apiservice.apiregistration.k8s.io/v1.apps\n") })
	k.stdin(crdYAML, "create", "-f", "-")
	eventually(t, "the definition's", func() bool { return strings.Contains(listed(), "/v1.sea.example\n") })
	k.run("delete", "crd", "boats.sea.example")
	eventually(t, "no longer", func() bool { return !strings.Contains(listed(), "sea.example") })
	contains(t, k.run("get", "apiservice", "v1.apps"), "Local", "True")
}

// A proxy is believed when it says on whose behalf it asks; nobody else is.
func TestA3RequestsOnBehalfOfOthers(t *testing.T) {
	s := apitest.Start(t)
	whoami := func(c *rest.Config) string {
		c.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				r.Header.Set("X-Remote-User", "carol")
				return next.RoundTrip(r)
			})
		}
		client, err := kubernetes.NewForConfig(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{})
		if err == nil {
			t.Fatal("allowed")
		}
		_, rest, _ := strings.Cut(err.Error(), `User "`)
		name, _, _ := strings.Cut(rest, `"`)
		return name
	}
	if got := whoami(s.ProxyTLSConfig(t)); got != "carol" {
		t.Errorf("the proxy asked for carol and was taken for %q", got)
	}
	if got := whoami(s.TLSConfig(t, "mallory")); got != "mallory" {
		t.Errorf("mallory asked for carol and was taken for %q", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
