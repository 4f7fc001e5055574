package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/proa-project/proa/internal/pki"
)

// serverName is in the API server's certificate whatever its addresses are: a
// machine that roams, or is reached through a translated address, is still it.
const serverName = "kubernetes"

// fetchAuthority takes the authority's certificate from the chain that the server
// shows. Nothing of that is believed but by the pin.
func fetchAuthority(ctx context.Context, server *url.URL, pin string) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, // the chain is verified below, against the pin
		ServerName:         serverName, MinVersion: tls.VersionTLS12,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address(server))
	if err != nil {
		return nil, fmt.Errorf("reach the server at %s: %w", server, err)
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	for _, ca := range chain {
		if pki.Pin(ca) != pin {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: serverName}); err != nil {
			return nil, fmt.Errorf("certificate of %s: %w", server, err)
		}
		return ca, nil
	}
	return nil, fmt.Errorf("the server at %s is of another cluster: nothing that it shows has the hash %s", server, pin)
}

// parseServer wants an URL of https.
func parseServer(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	if err == nil && (u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("want https://HOST:PORT")
	}
	if err != nil {
		return nil, fmt.Errorf("--server %q: %w", server, err)
	}
	return u, nil
}

func address(u *url.URL) string {
	if u.Port() == "" {
		return u.Hostname() + ":443"
	}
	return u.Host
}
