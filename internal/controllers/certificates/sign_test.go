package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

var now = time.Unix(1_800_000_000, 0)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) Certificate() *x509.Certificate { return a.cert }
func (a authority) Key() crypto.Signer             { return a.key }

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) authority {
	key := newKey(t)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func node(change ...func(*x509.CertificateRequest)) *x509.CertificateRequest {
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}}}
	for _, f := range change {
		f(r)
	}
	return r
}

func withIP(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }

var (
	client  = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	serving = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageServerAuth}
)

func TestCheck(t *testing.T) {
	user := func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: "jane"} }
	for name, c := range map[string]struct {
		signer  string
		request *x509.CertificateRequest
		usages  []certificatesv1.KeyUsage
		ours    bool
		problem string
	}{
		"user":                   {certificatesv1.KubeAPIServerClientSignerName, node(user), client, true, ""},
		"user, to serve":         {certificatesv1.KubeAPIServerClientSignerName, node(user), serving, true, "invalid usage for client certificate: server auth"},
		"user, for nothing":      {certificatesv1.KubeAPIServerClientSignerName, node(user), nil, true, "missing required usage for client certificate: client auth"},
		"node":                   {certificatesv1.KubeAPIServerClientKubeletSignerName, node(), client, true, ""},
		"node with an address":   {certificatesv1.KubeAPIServerClientKubeletSignerName, node(withIP), client, true, "IP subjectAltNames are not allowed"},
		"user as node":           {certificatesv1.KubeAPIServerClientKubeletSignerName, node(user), client, true, "subject organization is not system:nodes"},
		"node serves":            {certificatesv1.KubeletServingSignerName, node(withIP), serving, true, ""},
		"node serves nowhere":    {certificatesv1.KubeletServingSignerName, node(), serving, true, "DNS or IP subjectAltName is required"},
		"somebody else's signer": {"example.com/mine", node(user), client, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ours, err := check(c.signer, c.request, c.usages)
			problem := ""
			if err != nil {
				problem = err.Error()
			}
			if ours != c.ours || problem != c.problem {
				t.Errorf("ours %v, problem %q", ours, problem)
			}
		})
	}
}

func TestSign(t *testing.T) {
	a := newAuthority(t)
	der, err := x509.CreateCertificateRequest(rand.Reader, node(withIP), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	request, err := parse(&certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})}})
	if err != nil {
		t.Fatal(err)
	}
	hour := int32(3600)
	signed, err := sign(a, request, serving, &hour, now)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(signed)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Error(err)
	}
	if cert.IsCA || cert.Subject.CommonName != "system:node:n" || !cert.NotAfter.Equal(now.Add(time.Hour)) || !cert.NotBefore.Equal(now.Add(-backdate)) || len(cert.IPAddresses) != 1 {
		t.Errorf("%+v", cert)
	}
	year, err := template(request, client, nil, a.cert.NotAfter, now)
	if err != nil || year.NotAfter != a.cert.NotAfter {
		t.Errorf("outlives its authority: %v, %v", year.NotAfter, err)
	}
	if _, err := template(request, []certificatesv1.KeyUsage{"flying"}, nil, a.cert.NotAfter, now); err == nil {
		t.Error("an unknown usage was taken")
	}
	if got := lifetime(ptr(int32(1))); got != shortest {
		t.Errorf("lifetime %v", got)
	}
}

func ptr[T any](v T) *T { return &v }

func TestLeftFor(t *testing.T) {
	r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	if got := leftFor(r, now.Add(time.Hour)); got != 23*time.Hour {
		t.Errorf("pending: %v", got)
	}
	decide := func(c certificatesv1.RequestConditionType) {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: c, Status: v1.ConditionTrue, LastUpdateTime: metav1.NewTime(now)}}
	}
	if decide(certificatesv1.CertificateApproved); leftFor(r, now) != 24*time.Hour {
		t.Error("approved, not signed: as if pending")
	}
	r.Status.Certificate = []byte("x")
	if got := leftFor(r, now.Add(30*time.Minute)); got != 30*time.Minute {
		t.Errorf("signed: %v", got)
	}
	if decide(certificatesv1.CertificateDenied); leftFor(r, now.Add(2*time.Hour)) > 0 {
		t.Error("a denied request stays for ever")
	}
}

func TestANodesServerGetsItsOwnNamesAlone(t *testing.T) {
	node := func(name, pods string) *v1.Node {
		return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.NodeSpec{PodCIDR: pods}}
	}
	nodes := []*v1.Node{node("n", "10.42.1.0/24"), node("other", "10.42.2.0/24"), node("new", ""), node("thief", "10.42.2.0/25")}
	for what, c := range map[string]struct {
		node  string
		names []string
		addrs []string
		want  bool
	}{
		"its own":                     {"n", []string{"n"}, []string{"10.42.1.1"}, true},
		"another address":             {"n", []string{"n"}, []string{"10.42.1.1", "10.42.2.1"}, false},
		"another name":                {"n", []string{"n", "kubernetes"}, []string{"10.42.1.1"}, false},
		"without a range":             {"new", []string{"new"}, []string{"10.42.1.1"}, false},
		"a range that two claim":      {"thief", []string{"thief"}, []string{"10.42.2.1"}, false},
		"and for whom it was claimed": {"other", []string{"other"}, []string{"10.42.2.1"}, false},
		"nobody's":                    {"unknown", []string{"unknown"}, nil, false},
	} {
		r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + c.node}, DNSNames: c.names}
		for _, a := range c.addrs {
			r.IPAddresses = append(r.IPAddresses, net.ParseIP(a))
		}
		if got := ownNames(r, nodes); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// A token gets a certificate for a new node, not for one that is there; that one
// asks for itself.
func TestNobodyElseBecomesANodeThatIsThere(t *testing.T) {
	nodes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	if err := nodes.Add(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "there"}}); err != nil {
		t.Fatal(err)
	}
	c := &controller{nodes: corelisters.NewNodeLister(nodes)}
	for _, tc := range []struct {
		asks, node string
		taken      bool
	}{
		{"system:bootstrap:abcdef", "new", false}, {"system:bootstrap:abcdef", "there", true}, {"system:node:there", "there", false}, {"system:node:other", "there", true},
	} {
		r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{Username: tc.asks}}
		why := c.taken(r, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + tc.node}})
		if (why != "") != tc.taken {
			t.Errorf("%s for %s: %q", tc.asks, tc.node, why)
		}
	}
}
