package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
)

// legacyUnknown is the signer of requests from before there were signer names.
const legacyUnknown = "kubernetes.io/legacy-unknown"

func parse(r *certificatesv1.CertificateSigningRequest) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return request, request.CheckSignature()
}

// check holds a request against what its signer signs; ours is false for the
// signers of other people.
func check(signer string, request *x509.CertificateRequest, usages []certificatesv1.KeyUsage) (ours bool, problem error) {
	switch signer {
	case certificatesv1.KubeAPIServerClientSignerName:
		return true, checkUsages(usages, certificatesv1.UsageClientAuth)
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return true, checkKubeletClient(request, usages)
	case certificatesv1.KubeletServingSignerName:
		return true, checkKubeletServing(request, usages)
	case legacyUnknown:
		return true, nil
	}
	return false, nil
}

// checkUsages wants one usage, and allows those that go with every key.
func checkUsages(usages []certificatesv1.KeyUsage, wanted certificatesv1.KeyUsage) error {
	has := false
	for _, u := range usages {
		switch u {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment:
		case wanted:
			has = true
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !has {
		return fmt.Errorf("missing required usage for client certificate: %s", wanted)
	}
	return nil
}

func checkNode(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage, wanted certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(r.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(r.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed") //nolint:staticcheck // the field's own wording
	case len(r.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !strings.HasPrefix(r.Subject.CommonName, "system:node:"):
		return errors.New("subject common name does not begin with system:node:")
	case !slices.Contains(usages, certificatesv1.UsageDigitalSignature) || checkUsages(usages, wanted) != nil:
		return fmt.Errorf("usages did not match %v", []string{string(wanted), "digital signature", "key encipherment"})
	}
	return nil
}

func checkKubeletClient(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case len(r.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(r.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	}
	return checkNode(r, usages, certificatesv1.UsageClientAuth)
}

func checkKubeletServing(r *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	if len(r.DNSNames) == 0 && len(r.IPAddresses) == 0 {
		return errors.New("DNS or IP subjectAltName is required")
	}
	return checkNode(r, usages, certificatesv1.UsageServerAuth)
}

func nodeOf(r *x509.CertificateRequest) string {
	return strings.TrimPrefix(r.Subject.CommonName, "system:node:")
}

// ownNames tells whether a node's server asks for its own name and for the first
// address of the range that its pods have, and for nothing else. A range that two
// nodes claim is nobody's.
func ownNames(r *x509.CertificateRequest, nodes []*v1.Node) bool {
	name := nodeOf(r)
	var own netip.Prefix
	var others []netip.Prefix
	for _, n := range nodes {
		p, err := netip.ParsePrefix(n.Spec.PodCIDR)
		switch {
		case err != nil:
		case n.Name == name:
			own = p.Masked()
		default:
			others = append(others, p)
		}
	}
	if !own.IsValid() || slices.ContainsFunc(others, own.Overlaps) {
		return false
	}
	addr := own.Addr().Next()
	return !slices.ContainsFunc(r.DNSNames, func(d string) bool { return d != name }) &&
		!slices.ContainsFunc(r.IPAddresses, func(ip net.IP) bool { a, ok := netip.AddrFromSlice(ip); return !ok || a.Unmap() != addr })
}
