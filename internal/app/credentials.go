package app

import (
	"crypto/tls"
	"fmt"
	"net"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/pki"
)

// credentials are made anew at every start; the authority that signs them stays.
type credentials struct {
	authority *pki.Authority
	serving   tls.Certificate // of the API server
	kubelet   tls.Certificate // of the node's HTTPS server
	toKubelet tls.Certificate // with which the API server speaks to nodes
	proxies   *pki.Authority  // of those who may ask on behalf of others
}

// proxyName is the API server's, when it asks on behalf of others.
const proxyName = "front-proxy-client"

// proxy is the identity with which the API server speaks to other API servers.
func (made *credentials) proxy() (apiserver.Proxy, error) {
	c, err := made.proxies.Client(proxyName)
	if err != nil {
		return apiserver.Proxy{}, err
	}
	cert, key, err := pki.PEM(c)
	return apiserver.Proxy{CA: made.proxies.CertPEM(), Cert: cert, Key: key, Name: proxyName}, err
}

func makeCredentials(dir string, c cluster) (*credentials, error) {
	authority, err := pki.Open(dir)
	if err != nil {
		return nil, err
	}
	made := &credentials{authority: authority}
	if made.proxies, err = pki.OpenProxy(dir); err != nil {
		return nil, err
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", c.Node}
	addrs := append(hostAddrs(), c.nodeAddr().AsSlice(), c.serviceAddr().AsSlice())
	if made.serving, err = authority.Serving("kube-apiserver", names, addrs); err != nil {
		return nil, err
	}
	if made.kubelet, err = authority.Serving("system:node:"+c.Node, []string{c.Node, "localhost"}, addrs); err != nil {
		return nil, err
	}
	made.toKubelet, err = authority.Client("kube-apiserver-kubelet-client", "system:masters")
	return made, err
}

// hostAddrs are loopback and whatever addresses the machine has now.
func hostAddrs() []net.IP {
	addrs := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	have, err := net.InterfaceAddrs()
	if err != nil {
		return addrs
	}
	for _, a := range have {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			addrs = append(addrs, n.IP)
		}
	}
	return addrs
}

// writeKubeconfig writes the administrator's kubeconfig to each path, with a
// certificate that is new at every start.
func (made *credentials) writeKubeconfig(server string, paths ...string) error {
	admin, err := made.authority.Client("admin", "system:masters")
	if err != nil {
		return err
	}
	cert, key, err := pki.PEM(admin)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["proa"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: made.authority.CertPEM()}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts["proa"] = &clientcmdapi.Context{Cluster: "proa", AuthInfo: "admin"}
	config.CurrentContext = "proa"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := atomicfile.Write(path, data, 0o600); err != nil {
			return fmt.Errorf("write kubeconfig: %w", err)
		}
	}
	return nil
}
