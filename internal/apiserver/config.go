package apiserver

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Config is what the server is made from. Certificates and keys are PEM.
type Config struct {
	Etcd *clientv3.Client // required; stays the caller's to close

	// Listener is where TLS is served. The server closes it.
	Listener                net.Listener
	ServingCert, ServingKey []byte
	ClientCA                []byte // whose client certificates are believed

	// ServiceAccountKeys sign tokens (the first) and verify them (all).
	ServiceAccountKeys   []crypto.Signer
	ServiceAccountIssuer string   // default https://kubernetes.default.svc
	APIAudiences         []string // default: the issuer

	AdvertiseAddress netip.Addr     // address of the "kubernetes" endpoints; default: the listener's
	ServiceCIDRs     []netip.Prefix // one or one a family; default 10.43.0.0/16
	NodePorts        PortRange      // default 30000-32767

	// Proxy is how other servers are spoken to on behalf of users (aggregated
	// APIs), and who may speak so to us. Empty: nobody.
	Proxy Proxy

	// Kubelet is how nodes are spoken to (log, exec, proxy …). Nil: not at all.
	Kubelet *tls.Config

	Audit          Audit
	EncryptionFile string // an apiserver.config.k8s.io/v1 EncryptionConfiguration; "": nothing is encrypted

	// Resources overrides what is served; nil means everything.
	Resources []resource.Resource

	Logger *slog.Logger
}

// Proxy is an identity that is believed when it says on whose behalf it asks.
type Proxy struct {
	CA        []byte // PEM; other servers get it from a ConfigMap
	Cert, Key []byte // PEM; of CA, for Name
	Name      string // the certificate's common name
}

// PortRange is inclusive at both ends.
type PortRange struct{ First, Last int }

const (
	defaultIssuer      = "https://kubernetes.default.svc"
	defaultServiceCIDR = "10.43.0.0/16"
)

func (c *Config) setDefaults() {
	if c.ServiceAccountIssuer == "" {
		c.ServiceAccountIssuer = defaultIssuer
	}
	if len(c.APIAudiences) == 0 {
		c.APIAudiences = []string{c.ServiceAccountIssuer}
	}
	if len(c.ServiceCIDRs) == 0 {
		c.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix(defaultServiceCIDR)}
	}
	if c.NodePorts == (PortRange{}) {
		c.NodePorts = PortRange{30000, 32767}
	}
	if !c.AdvertiseAddress.IsValid() && c.Listener != nil {
		if a, err := netip.ParseAddrPort(c.Listener.Addr().String()); err == nil {
			c.AdvertiseAddress = a.Addr().Unmap()
		}
	}
	if c.Resources == nil {
		c.Resources = Resources()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Validate reports everything that is wrong with c, after defaults.
func (c *Config) Validate() error {
	var errs []error
	if c.Etcd == nil {
		errs = append(errs, errors.New("no etcd client"))
	}
	if c.Listener == nil {
		errs = append(errs, errors.New("no listener"))
	}
	if _, err := tls.X509KeyPair(c.ServingCert, c.ServingKey); err != nil {
		errs = append(errs, fmt.Errorf("serving certificate: %w", err))
	}
	if len(c.ServiceAccountKeys) == 0 {
		errs = append(errs, errors.New("no service-account key"))
	}
	if len(c.ServiceCIDRs) > 2 {
		errs = append(errs, errors.New("more than two service CIDRs"))
	}
	if c.NodePorts.First < 1 || c.NodePorts.Last > 65535 || c.NodePorts.First > c.NodePorts.Last {
		errs = append(errs, fmt.Errorf("node port range %d-%d", c.NodePorts.First, c.NodePorts.Last))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("apiserver config: %w", err)
	}
	return nil
}
