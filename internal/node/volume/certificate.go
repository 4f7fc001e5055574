package volume

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A signer usually answers at once: so long, and so often, it is looked whether it has.
const (
	awaitCertificate = 3 * time.Second
	lookAgain        = 100 * time.Millisecond
)

var errNotIssued = errors.New("credential bundle is not issued yet")

// credential is a pod's certificate, from the first request on:
//
//	(nothing) ──ask──▶ asked ──issued──▶ have ──refreshAt──▶ have and asked ──issued──▶ have
//	                     └──denied or failed──▶ refused, for good
type credential struct {
	have    *certificate
	asked   *question
	refused error
}

// certificate in use; key and chain are PEM.
type certificate struct {
	key, chain []byte
	refreshAt  time.Time
}

// question that was put to a signer, and the key that only we know.
type question struct {
	name string
	key  []byte
}

// certificatesOf a pod, by place.
func certificatesOf(pod *v1.Pod) map[tokenPlace]*v1.PodCertificateProjection {
	out := map[tokenPlace]*v1.PodCertificateProjection{}
	for _, vol := range usedVolumes(pod) {
		if vol.Projected == nil {
			continue
		}
		for i := range vol.Projected.Sources {
			if want := vol.Projected.Sources[i].PodCertificate; want != nil {
				out[tokenPlace{vol.Name, i}] = want
			}
		}
	}
	return out
}

// freshCredential brings a pod's certificate on: asks for one that is due, and takes what the signer has answered. An error is
// of a credential that has no certificate yet; one that has keeps it.
func (m *Manager) freshCredential(ctx context.Context, pod *v1.Pod, want *v1.PodCertificateProjection, c credential) (credential, error) {
	switch {
	case c.refused != nil:
		return c, c.refused
	case c.have != nil && c.asked == nil && m.cfg.Now().Before(c.have.refreshAt):
		return c, nil
	}
	err := m.advance(ctx, pod, want, &c)
	if c.have != nil && c.refused == nil {
		return c, nil
	}
	return c, err
}

// advance asks, unless that is done, and waits a moment for the answer.
func (m *Manager) advance(ctx context.Context, pod *v1.Pod, want *v1.PodCertificateProjection, c *credential) error {
	if c.asked == nil {
		asked, err := m.askSigner(ctx, pod, want)
		if err != nil {
			return err
		}
		c.asked = asked
	}
	for range int(awaitCertificate / lookAgain) {
		request, err := m.cfg.Client.CertificatesV1().PodCertificateRequests(pod.Namespace).Get(ctx, c.asked.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			c.asked = nil // somebody deleted it: ask anew
			return errNotIssued
		}
		if err != nil {
			return err
		}
		if answered, err := c.take(request); answered {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
	return errNotIssued
}

// take the signer's answer, if there is one.
func (c *credential) take(request *certificatesv1.PodCertificateRequest) (answered bool, err error) {
	for _, condition := range request.Status.Conditions {
		switch condition.Type {
		case certificatesv1.PodCertificateRequestConditionTypeIssued:
			c.have = &certificate{key: c.asked.key, chain: cleanChain(request.Status.CertificateChain)}
			if request.Status.BeginRefreshAt != nil {
				c.have.refreshAt = request.Status.BeginRefreshAt.Time
			}
			c.asked = nil
			return true, nil
		case certificatesv1.PodCertificateRequestConditionTypeDenied:
			c.refused = fmt.Errorf("PodCertificateRequest was permanently denied: reason=%q message=%q", condition.Reason, condition.Message)
			return true, c.refused
		case certificatesv1.PodCertificateRequestConditionTypeFailed:
			c.refused = fmt.Errorf("PodCertificateRequest was permanently failed: reason=%q message=%q", condition.Reason, condition.Message)
			return true, c.refused
		}
	}
	return false, nil
}

// askSigner with a new key, of which the request proves that we have it.
func (m *Manager) askSigner(ctx context.Context, pod *v1.Pod, want *v1.PodCertificateProjection) (*question, error) {
	if m.cfg.Node == nil || m.cfg.Node() == nil {
		return nil, errors.New("a certificate needs a node that the API server knows")
	}
	node := m.cfg.Node()
	account, err := m.cfg.Client.CoreV1().ServiceAccounts(pod.Namespace).Get(ctx, pod.Spec.ServiceAccountName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("while fetching service account: %w", err)
	}
	key, err := newKey(want.KeyType)
	if err != nil {
		return nil, err
	}
	proof, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("while generating stub PKCS#10 request: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	made, err := m.cfg.Client.CertificatesV1().PodCertificateRequests(pod.Namespace).Create(ctx, &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: want.SignerName, PodName: pod.Name, PodUID: pod.UID, ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(node.Name), NodeUID: node.UID, MaxExpirationSeconds: want.MaxExpirationSeconds,
			StubPKCS10Request: proof, UnverifiedUserAnnotations: want.UserAnnotations,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("while creating PodCertificateRequest: %w", err)
	}
	return &question{name: made.Name, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "RSA3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ECDSAP256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSAP384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECDSAP521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ED25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("unknown key type %q", kind)
}

// cleanChain drops everything but the certificates.
func cleanChain(chain string) []byte {
	var out bytes.Buffer
	for rest := []byte(chain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out.Bytes()
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}))
	}
}

// certificatePayload is the files that a projection asks for.
func certificatePayload(got *certificate, want *v1.PodCertificateProjection, mode *int32, user *int64, own ownership) Payload {
	out := Payload{}
	put := func(path string, data []byte) {
		if path != "" {
			out[path] = credentialFile(data, mode, userOr(want.User, user), own)
		}
	}
	put(want.CredentialBundlePath, append(append([]byte{}, got.key...), got.chain...))
	put(want.KeyPath, got.key)
	put(want.CertificateChainPath, got.chain)
	return out
}
