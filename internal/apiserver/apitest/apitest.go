// Package apitest starts a real API server on a real etcd for a test: in a
// temporary folder, on a free loopback port, gone when the test ends.
package apitest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/etcd"
)

// Server is a running API server.
type Server struct {
	*apiserver.Server
	Client     kubernetes.Interface // in process, may do everything
	Dir        string               // etcd's and the kubeconfig's folder
	Address    string               // host:port
	CA         []byte               // PEM, of the server's and all clients' certificates
	ProxyCA    []byte               // PEM, of who may ask on behalf of others
	Kubeconfig string               // path, of an administrator over TLS

	proxies *authority
	ca      *authority
	key     *ecdsa.PrivateKey // signs service-account tokens
	change  []func(*apiserver.Config)
	store   *etcd.Store
	cancel  context.CancelFunc
	done    <-chan error
}

// ProxyName is the common name with which the server asks on behalf of others.
const ProxyName = "front-proxy-client"

const startTimeout = 30 * time.Second

// Start returns when the server is ready. change, if any, edits the
// configuration before the start.
func Start(t testing.TB, change ...func(*apiserver.Config)) *Server {
	t.Helper()
	quiet()
	s := &Server{Dir: t.TempDir(), ca: newAuthority(t), proxies: newAuthority(t), key: newKey(t), change: change}
	s.CA, s.ProxyCA = s.ca.certPEM, s.proxies.certPEM
	t.Cleanup(func() { s.stop(t) })
	s.start(t)
	return s
}

// Restart stops the server and its etcd and starts them again on the same state,
// at another port. Clients made before are of no use after; Client is renewed.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.stop(t)
	s.start(t)
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	var err error
	if s.store, err = etcd.Start(t.Context(), etcd.Config{Dir: filepath.Join(s.Dir, "etcd"), NoFsync: true}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = listener.Addr().String()
	cert, key := s.ca.issue(t, "kube-apiserver", nil, "127.0.0.1")
	c := apiserver.Config{
		Etcd: s.store.Client(), Listener: listener, ServingCert: cert, ServingKey: key, ClientCA: s.CA,
		ServiceAccountKeys: []crypto.Signer{s.key}, Proxy: apiserver.Proxy{CA: s.ProxyCA, Name: ProxyName},
	}
	c.Proxy.Cert, c.Proxy.Key = s.proxies.issue(t, ProxyName, nil)
	for _, f := range s.change {
		f(&c)
	}
	s.run(t, c)
	s.Kubeconfig = s.WriteKubeconfig(t, "admin", "system:masters")
	if s.Client, err = kubernetes.NewForConfig(s.LoopbackConfig()); err != nil {
		t.Fatal(err)
	}
	s.waitSettled(t)
}

// stop ends the server, then etcd.
func (s *Server) stop(t testing.TB) {
	t.Helper()
	if s.cancel != nil {
		s.cancel()
		if err := <-s.done; err != nil {
			t.Errorf("the API server ended with: %v", err)
		}
		s.cancel = nil
	}
	if s.store == nil {
		return
	}
	if err := s.store.Close(); err != nil {
		t.Error(err)
	}
	s.store = nil
}

// run starts the API server on a running etcd.
func (s *Server) run(t testing.TB, c apiserver.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server, err := apiserver.New(ctx, c)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	s.Server, s.cancel, s.done = server, cancel, done
	go func() { done <- server.Run(ctx) }()
	select {
	case <-server.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("the API server ended while starting: %v", err)
	case <-time.After(startTimeout):
		t.Fatal("the API server is not ready in time")
	}
}

// waitSettled waits for the stock roles, which the server makes after it is ready.
func (s *Server) waitSettled(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		body, err := s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz: %v\n%s", err, body)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TLSConfig is a client over TLS, with a certificate for name and groups.
func (s *Server) TLSConfig(t testing.TB, name string, groups ...string) *rest.Config {
	t.Helper()
	cert, key := s.ca.issue(t, name, groups)
	return &rest.Config{
		Host: "https://" + s.Address, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CA, CertData: cert, KeyData: key},
	}
}

// ServingCertificate is one that CA is of, for a server of the test's own.
func (s *Server) ServingCertificate(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	return must(tls.X509KeyPair(s.ca.issue(t, hosts[0], nil, hosts...)))(t)
}

// ProxyTLSConfig is a client over TLS that may ask on behalf of others, by headers.
func (s *Server) ProxyTLSConfig(t testing.TB) *rest.Config {
	t.Helper()
	cert, key := s.proxies.issue(t, ProxyName, nil)
	return &rest.Config{
		Host: "https://" + s.Address, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CA, CertData: cert, KeyData: key},
	}
}

// WriteKubeconfig writes a kubeconfig for name and groups and returns its path.
func (s *Server) WriteKubeconfig(t testing.TB, name string, groups ...string) string {
	t.Helper()
	cert, key := s.ca.issue(t, name, groups)
	config := clientcmdapi.NewConfig()
	config.Clusters["proa"] = &clientcmdapi.Cluster{Server: "https://" + s.Address, CertificateAuthorityData: s.CA}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts["proa"] = &clientcmdapi.Context{Cluster: "proa", AuthInfo: name}
	config.CurrentContext = "proa"
	path := filepath.Join(s.Dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Informers is a factory over the in-process client. The caller asks for what it
// needs and starts it; it stops with the test.
func (s *Server) Informers(t testing.TB) (f informers.SharedInformerFactory, start func()) {
	f = informers.NewSharedInformerFactory(s.Client, 0)
	stop := make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		f.Shutdown()
	})
	return f, func() {
		t.Helper()
		f.Start(stop)
		for kind, ok := range f.WaitForCacheSync(stop) {
			if !ok {
				t.Fatalf("no informer of %v", kind)
			}
		}
	}
}

// quiet silences the libraries' own log unless PROA_TEST_LOG is set.
var quiet = sync.OnceFunc(func() {
	if os.Getenv("PROA_TEST_LOG") == "" {
		klog.LogToStderr(false)
		klog.SetLogger(klog.Logger{})
	}
})
