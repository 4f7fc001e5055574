package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"

	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/pki"
)

const (
	// signPatience bounds the wait for the first certificate.
	signPatience = time.Minute
	// Requests a second to the API, and at once: the stock node agent's.
	clientQPS, clientBurst = 50, 100
	// servicesUser is in whose name a node does what is not about its pods.
	servicesUser = "proa:node-services"
)

// Config names the cluster and the node. Token and Pin are needed as long as
// there are no keys in Dir.
type Config struct {
	Dir    string
	Server string // https://HOST:PORT
	Node   string
	Token  string // ID.SECRET
	Pin    string // sha256:…, of the authority's public key
}

// Member of a cluster.
type Member struct {
	config  Config
	server  *url.URL
	ca      *x509.Certificate
	caPEM   []byte
	client  certificate.FileStore
	serving certificate.Manager
}

// Open joins, or takes up what an earlier run was given.
func Open(ctx context.Context, c Config) (*Member, error) {
	m := &Member{config: c}
	var err error
	if m.server, err = parseServer(c.Server); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if err := m.loadAuthority(ctx); err != nil {
		return nil, err
	}
	if m.client, err = certificate.NewFileStore("client", c.Dir, c.Dir, "", ""); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if err := m.ensureClient(ctx); err != nil {
		return nil, err
	}
	return m, m.keepAuthority()
}

func (m *Member) loadAuthority(ctx context.Context) (err error) {
	path := m.authorityPath()
	m.caPEM, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if m.config.Pin == "" || m.config.Token == "" {
			return errors.New("joining a cluster takes --token and --ca-hash, as `proa token create` prints them on its server")
		}
		if m.ca, err = fetchAuthority(ctx, m.server, m.config.Pin); err != nil {
			return err
		}
		m.caPEM = pki.CertPEM(m.ca.Raw)
		return nil
	}
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if m.ca, err = pki.ParsePEM(m.caPEM); err != nil {
		return fmt.Errorf("join: %s: %w", path, err)
	}
	if pin := m.config.Pin; pin != "" && pin != pki.Pin(m.ca) {
		return fmt.Errorf("this folder is a node's of another cluster (its hash is %s); `proa down --purge` makes it nobody's", pki.Pin(m.ca))
	}
	return nil
}

func (m *Member) authorityPath() string { return filepath.Join(m.config.Dir, "ca.crt") }

// keepAuthority writes the authority down, now that its cluster has taken us: an
// attempt that failed binds nobody.
func (m *Member) keepAuthority() error {
	if _, err := os.Stat(m.authorityPath()); err == nil {
		return nil
	}
	return atomicfile.Write(m.authorityPath(), m.caPEM, 0o600)
}

// ensureClient has a client certificate that is good.
func (m *Member) ensureClient(ctx context.Context) error {
	have, err := m.client.Current()
	if err == nil && have.Leaf != nil && time.Now().Before(have.Leaf.NotAfter) {
		return nil
	}
	if m.config.Token == "" {
		return errors.New("the node's certificate has expired, or is gone: join again with a new token of `proa token create`")
	}
	return m.request(ctx)
}

// request asks for a client certificate in the name of the token.
func (m *Member) request(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, signPatience)
	defer cancel()
	keyPEM, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return fmt.Errorf("join: make a key: %w", err)
	}
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return fmt.Errorf("join: make a key: %w", err)
	}
	asked, err := cert.MakeCSRFromTemplate(key, m.clientTemplate())
	if err != nil {
		return fmt.Errorf("join: make a request: %w", err)
	}
	config := m.base()
	config.BearerToken = m.config.Token
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	name, uid, err := csr.RequestCertificateWithContext(ctx, api, asked, "", certificatesv1.KubeAPIServerClientKubeletSignerName, nil, clientUsages, key)
	if apierrors.IsUnauthorized(err) {
		return errors.New("the server does not know this token, or it has expired: make another with `proa token create`")
	}
	if err != nil {
		return fmt.Errorf("join: ask for a certificate: %w", err)
	}
	signed, err := csr.WaitForCertificate(ctx, api, name, uid)
	if err != nil {
		return fmt.Errorf("join: the server signs no certificate for this node: %w", err)
	}
	_, err = m.client.Update(signed, keyPEM)
	return err
}

var (
	clientUsages  = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	servingUsages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth}
)

func (m *Member) subject() pkix.Name {
	return pkix.Name{CommonName: "system:node:" + m.config.Node, Organization: []string{"system:nodes"}}
}

func (m *Member) clientTemplate() *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: m.subject()}
}

// base says where the server is and how it is known.
func (m *Member) base() *rest.Config {
	return &rest.Config{
		Host: m.config.Server, QPS: clientQPS, Burst: clientBurst,
		TLSClientConfig: rest.TLSClientConfig{CAData: m.caPEM, ServerName: serverName},
	}
}

// Config speaks to the API as this node. The library reads a renewed certificate
// by itself.
func (m *Member) Config() *rest.Config {
	c := m.base()
	c.CertFile, c.KeyFile = m.client.CurrentPath(), m.client.CurrentPath()
	return c
}

// ServicesConfig speaks to the API for what a node does beside running its pods.
func (m *Member) ServicesConfig() *rest.Config {
	c := m.Config()
	c.Impersonate.UserName = servicesUser
	return c
}

// Authority that all certificates of the cluster are held against.
func (m *Member) Authority() *x509.Certificate { return m.ca }

// Addr is the server's, as seen from here, and Local is this machine's, as the
// server sees it. Nothing is sent.
func (m *Member) Addr(ctx context.Context) (server, local netip.Addr, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", address(m.server))
	if err != nil {
		return server, local, fmt.Errorf("way to the server: %w", err)
	}
	defer conn.Close()
	return addrOf(conn.RemoteAddr()), addrOf(conn.LocalAddr()), nil
}

func addrOf(a net.Addr) netip.Addr { return a.(*net.UDPAddr).AddrPort().Addr().Unmap() }

// Renew keeps the certificates good until ctx ends; at is the address of the
// node's own server.
func (m *Member) Renew(ctx context.Context, at netip.Addr) error {
	serving, err := certificate.NewFileStore("serving", m.config.Dir, m.config.Dir, "", "")
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	clients := func(*tls.Certificate) (kubernetes.Interface, error) { return kubernetes.NewForConfig(m.Config()) }
	client, err := certificate.NewManager(&certificate.Config{
		Ctx: &ctx, Name: "node's client certificate", ClientsetFn: clients, CertificateStore: m.client,
		SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName, Template: m.clientTemplate(), Usages: clientUsages,
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	m.serving, err = certificate.NewManager(&certificate.Config{
		Ctx: &ctx, Name: "node's serving certificate", ClientsetFn: clients, CertificateStore: serving,
		SignerName: certificatesv1.KubeletServingSignerName, Usages: servingUsages,
		Template: &x509.CertificateRequest{Subject: m.subject(), DNSNames: []string{m.config.Node}, IPAddresses: []net.IP{at.AsSlice()}},
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	client.Start()
	m.serving.Start()
	return nil
}

// ServingCert is the one of the node's own server, once the cluster has signed it.
func (m *Member) ServingCert() (*tls.Certificate, error) {
	if c := m.serving.Current(); c != nil {
		return c, nil
	}
	return nil, errors.New("the cluster has not signed the node's certificate yet")
}
