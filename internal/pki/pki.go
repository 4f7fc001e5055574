// Package pki is a cluster's certificate authority and the keys it hands out.
//
// Everything lives in one folder (0700, files 0600): ca.crt and ca.key, the same of
// front-proxy-ca, the service-account signing key sa.key. Serving and client certificates are made
// in memory at every start, so there is nothing else to renew or to leak; only
// the administrator's kubeconfig carries a client certificate on disk.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/proa-project/proa/internal/kit/atomicfile"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	// skew lets a client whose clock is behind ours accept a new certificate.
	skew = 5 * time.Minute
)

// Authority signs certificates for one cluster.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// ServiceAccountKey signs service-account tokens; nil of a proxies' authority.
	ServiceAccountKey *ecdsa.PrivateKey
}

// Open loads the authority kept in dir, or makes a new one there.
func Open(dir string) (*Authority, error) {
	a, err := open(dir, "ca", "proa-ca")
	if err != nil {
		return nil, err
	}
	if a.ServiceAccountKey, err = loadOrMakeKey(filepath.Join(dir, "sa.key")); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenProxy is Open for the authority of those who may ask on behalf of others.
// It is another one, so that no client certificate is ever taken for theirs.
func OpenProxy(dir string) (*Authority, error) {
	return open(dir, "front-proxy-ca", "proa-front-proxy-ca")
}

func open(dir, file, commonName string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	key, err := loadOrMakeKey(filepath.Join(dir, file+".key"))
	if err != nil {
		return nil, err
	}
	cert, err := loadOrMakeCA(filepath.Join(dir, file+".crt"), commonName, key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// CertPEM is the authority's own certificate.
func (a *Authority) CertPEM() []byte { return CertPEM(a.cert.Raw) }

// Certificate is the authority's own certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Key is the authority's private key, for signing certificate requests.
func (a *Authority) Key() crypto.Signer { return a.key }

// Pool trusts this authority and nothing else.
func (a *Authority) Pool() *x509.CertPool { return Pool(a.cert) }

// Pool trusts one authority and nothing else.
func Pool(authority *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return pool
}

// Serving makes a server certificate for the given names and addresses.
func (a *Authority) Serving(commonName string, names []string, addrs []net.IP) (tls.Certificate, error) {
	return a.leaf(&x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName},
		DNSNames:    names,
		IPAddresses: addrs,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client makes a client certificate: user is the common name, groups are the organizations.
func (a *Authority) Client(user string, groups ...string) (tls.Certificate, error) {
	return a.leaf(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *Authority) leaf(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key for %s: %w", template.Subject.CommonName, err)
	}
	template.SerialNumber, err = serial()
	if err != nil {
		return tls.Certificate{}, err
	}
	template.NotBefore = time.Now().Add(-skew)
	template.NotAfter = time.Now().Add(leafLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate for %s: %w", template.Subject.CommonName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// PEM is a certificate and its key as kubeconfig files and disks want them.
func PEM(c tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode private key: %w", err)
	}
	return CertPEM(c.Certificate[0]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// CertPEM is a certificate as files want it.
func CertPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func loadOrMakeCA(path, commonName string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeCA(path, commonName, key)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM certificate; restore it, or remove it and its key to start a new authority", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to the key beside it", path)
	}
	return cert, nil
}

func makeCA(path, commonName string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	number, err := serial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          number,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-skew),
		NotAfter:              time.Now().Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", path, err)
	}
	if err := atomicfile.Write(path, CertPEM(der), 0o600); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func loadOrMakeKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM key; restore it from a backup", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is a %T, want an ECDSA key", path, parsed)
	}
	return key, nil
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	return key, atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func serial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// Pin names an authority by its public key, in the form that kubeadm gave it:
// "sha256:" and the hash of the key in hex.
func Pin(cert *x509.Certificate) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo))
}

// ParsePEM reads the first certificate.
func ParsePEM(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}
