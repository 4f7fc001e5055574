package apiserver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"time"

	restful "github.com/emicklei/go-restful/v3"
	clientv3 "go.etcd.io/etcd/client/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Routes builds a server that never runs and returns its REST routes and the
// external types, for the generator of the OpenAPI specifications.
func Routes(ctx context.Context, etcd *clientv3.Client) (*restful.Container, *runtime.Scheme, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	cert, keyPEM, err := throwAwayCertificate(key)
	if err != nil {
		return nil, nil, err
	}
	s, err := New(ctx, Config{Etcd: etcd, Listener: listener, ServingCert: cert, ServingKey: keyPEM, ServiceAccountKeys: []crypto.Signer{key}})
	if err != nil {
		return nil, nil, err
	}
	defer s.backend.Stop()
	defer s.generic.Destroy()
	scheme := runtime.NewScheme()
	for _, g := range groups {
		for _, add := range g.AddToScheme {
			if err := add(scheme); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return nil, nil, err
	}
	routes := s.generic.Handler.GoRestfulContainer
	for _, w := range s.crds.GenericAPIServer.Handler.GoRestfulContainer.RegisteredWebServices() {
		if strings.HasPrefix(w.RootPath(), "/apis/"+apiextensionsv1.GroupName) {
			routes.Add(w)
		}
	}
	return routes, scheme, nil
}

func throwAwayCertificate(key *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
