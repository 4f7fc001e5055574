package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenKeepsItsAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.CertPEM()) != string(second.CertPEM()) {
		t.Error("the authority changed between two opens")
	}
	if !first.ServiceAccountKey.Equal(second.ServiceAccountKey) {
		t.Error("the service-account key changed between two opens")
	}
	for _, name := range []string{"ca.key", "sa.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
}

func TestLeavesAreTrustedForTheirUseAlone(t *testing.T) {
	a, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	serving, err := a.Serving("apiserver", []string{"kubernetes"}, []net.IP{net.ParseIP("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Client("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	verify := func(c tls.Certificate, use x509.ExtKeyUsage, name string) error {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	for _, name := range []string{"kubernetes", "127.0.0.1"} {
		if err := verify(serving, x509.ExtKeyUsageServerAuth, name); err != nil {
			t.Errorf("serving for %s: %v", name, err)
		}
	}
	if err := verify(client, x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Errorf("client: %v", err)
	}
	if err := verify(client, x509.ExtKeyUsageServerAuth, ""); err == nil {
		t.Error("a client certificate is good for serving")
	}
}

func TestOpenNamesTheBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "ca.key") {
		t.Errorf("got %v, want an error that names ca.key", err)
	}
}
