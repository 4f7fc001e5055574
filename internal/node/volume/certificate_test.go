package volume

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// signer answers requests for certificates: with a chain that counts them, or not at all while silent.
type signer struct {
	t       *testing.T
	asked   int
	silent  bool
	verdict string
	refresh time.Time
}

func (s *signer) serve(r *rig) {
	r.client.PrependReactor("create", "podcertificaterequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		request := a.(clienttesting.CreateAction).GetObject().(*certificatesv1.PodCertificateRequest)
		if _, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request); err != nil {
			s.t.Errorf("no proof of the key: %v", err)
		}
		s.asked++
		request.Name = fmt.Sprint("req-", s.asked)
		return false, request, nil
	})
	r.client.PrependReactor("get", "podcertificaterequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		request := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Name: a.(clienttesting.GetAction).GetName()}}
		if !s.silent {
			request.Status.Conditions = []metav1.Condition{{Type: s.verdict, Reason: "Because", Message: "so"}}
			request.Status.CertificateChain = "noise\n-----BEGIN CERTIFICATE-----\n" + strings.Repeat("AAAA", s.asked) + "\n-----END CERTIFICATE-----\n"
			request.Status.BeginRefreshAt = &metav1.Time{Time: s.refresh}
		}
		return true, request, nil
	})
}

func certificatePod() *v1.Pod {
	pod := podWith(volumeOf("c", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{PodCertificate: &v1.PodCertificateProjection{
		SignerName: "example.com/signer", KeyType: "ED25519", CredentialBundlePath: "bundle.pem", CertificateChainPath: "chain.pem"}}}}}))
	pod.Spec.ServiceAccountName = "default"
	return pod
}

func certificateRig(t *testing.T) *rig {
	r := newRig(t, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "default", UID: "account"}})
	r.m.cfg.Node = func() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node"}} }
	return r
}

func TestV5PodCertificate(t *testing.T) {
	r, clock := certificateRig(t), time.Now()
	r.m.cfg.Now = func() time.Time { return clock }
	s := &signer{t: t, verdict: certificatesv1.PodCertificateRequestConditionTypeIssued, refresh: clock.Add(time.Hour)}
	s.serve(r)
	pod := certificatePod()
	r.setup(pod)
	first := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	r.reads(r.path(pod, "c", "chain.pem"), first)
	bundle, err := os.ReadFile(r.path(pod, "c", "bundle.pem"))
	if err != nil || !strings.HasPrefix(string(bundle), "-----BEGIN PRIVATE KEY-----\n") || !strings.HasSuffix(string(bundle), first) {
		t.Errorf("the bundle is not key and chain: %v\n%s", err, bundle)
	}
	// Until it is due nobody is asked; then the old one stays while the signer is silent.
	refresh := func() {
		t.Helper()
		if err := r.m.refresh(context.Background(), pod.UID); err != nil {
			t.Fatal(err)
		}
	}
	clock = clock.Add(59 * time.Minute)
	refresh()
	if s.asked != 1 {
		t.Errorf("asked %d times", s.asked)
	}
	clock, s.silent = clock.Add(2*time.Minute), true
	refresh()
	r.reads(r.path(pod, "c", "chain.pem"), first)
	s.silent, s.refresh = false, clock.Add(time.Hour)
	refresh()
	r.reads(r.path(pod, "c", "chain.pem"), strings.Replace(first, "AAAA", "AAAAAAAA", 1))
	if s.asked != 2 {
		t.Errorf("asked %d times", s.asked)
	}
}

func TestV5PodCertificateThatIsRefused(t *testing.T) {
	r := certificateRig(t)
	s := &signer{t: t, verdict: certificatesv1.PodCertificateRequestConditionTypeDenied}
	s.serve(r)
	pod := certificatePod()
	for range 2 {
		err := r.m.Setup(context.Background(), pod)
		if err == nil || !strings.Contains(err.Error(), `permanently denied: reason="Because" message="so"`) {
			t.Errorf("set up: %v", err)
		}
	}
	if s.asked != 1 {
		t.Errorf("asked %d times", s.asked)
	}
}
