package admit

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

var (
	signingRequests = schema.GroupResource{Group: certificatesv1.GroupName, Resource: "certificatesigningrequests"}
	trustBundles    = schema.GroupResource{Group: certificatesv1.GroupName, Resource: "clustertrustbundles"}
	onUpdate        = []admission.Operation{admission.Update}
)

// Approvals: who approves a certificate must be let to by its signer.
func Approvals(a authorizer.UnconditionalAuthorizer) admission.Interface {
	return subresource("CertificateApproval", "approval", func(ctx context.Context, r Request[*certificatesv1.CertificateSigningRequest]) error {
		if maySigner(ctx, a, r.GetUserInfo(), "approve", r.Old.Spec.SignerName) {
			return nil
		}
		return fmt.Errorf("user not permitted to approve requests with signerName %q", r.Old.Spec.SignerName)
	})
}

// Signatures: the same for who signs.
func Signatures(a authorizer.UnconditionalAuthorizer) admission.Interface {
	return subresource("CertificateSigning", "status", func(ctx context.Context, r Request[*certificatesv1.CertificateSigningRequest]) error {
		same := slices.Equal(r.Old.Status.Certificate, r.Object.Status.Certificate) && equality.Semantic.DeepEqual(r.Old.Status.Conditions, r.Object.Status.Conditions)
		if same || maySigner(ctx, a, r.GetUserInfo(), "sign", r.Old.Spec.SignerName) {
			return nil
		}
		return fmt.Errorf("user not permitted to sign requests with signerName %q", r.Old.Spec.SignerName)
	})
}

// subresource of signing requests alone.
func subresource(plugin, name string, check func(context.Context, Request[*certificatesv1.CertificateSigningRequest]) error) admission.Interface {
	return Plugin[*certificatesv1.CertificateSigningRequest]{Name: plugin, Resource: signingRequests, Subresources: []string{name}, Operations: onUpdate,
		Check: func(ctx context.Context, r Request[*certificatesv1.CertificateSigningRequest]) error {
			if r.GetSubresource() != name || r.Old == nil || r.Object == nil {
				return nil
			}
			return forbid(r, check(ctx, r))
		}}
}

// Subjects: nobody gets a client certificate that may do everything.
func Subjects() admission.Interface {
	return Plugin[*certificatesv1.CertificateSigningRequest]{Name: "CertificateSubjectRestriction", Resource: signingRequests, Operations: onCreate,
		Check: func(_ context.Context, r Request[*certificatesv1.CertificateSigningRequest]) error {
			if r.Object.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
				return nil
			}
			request, err := parseRequest(r.Object.Spec.Request)
			if err != nil {
				return forbid(r, fmt.Errorf("failed to parse CSR: %w", err))
			}
			if slices.Contains(request.Subject.Organization, user.SystemPrivilegedGroup) {
				return forbid(r, fmt.Errorf("use of %s signer with system:masters group is not allowed", certificatesv1.KubeAPIServerClientSignerName))
			}
			return nil
		}}
}

// Attestations: who publishes a signer's trust anchors must be let to by it.
func Attestations(a authorizer.UnconditionalAuthorizer) admission.Interface {
	return Plugin[*certificatesv1.ClusterTrustBundle]{Name: "ClusterTrustBundleAttest", Resource: trustBundles, Operations: onWrite,
		Check: func(ctx context.Context, r Request[*certificatesv1.ClusterTrustBundle]) error {
			name := r.Object.Spec.SignerName
			if name == "" || r.GetOperation() == admission.Update && r.Old != nil && onlyForCollection(r.Object, r.Old) {
				return nil
			}
			if maySigner(ctx, a, r.GetUserInfo(), "attest", name) {
				return nil
			}
			return forbid(r, fmt.Errorf("user not permitted to attest for signerName %q", name))
		}}
}

// onlyForCollection: what the garbage collector or a storage migration changes.
func onlyForCollection[T interface {
	runtime.Object
	metav1.Object
}](now, old T) bool {
	a, b := now.DeepCopyObject().(T), old.DeepCopyObject().(T)
	for _, o := range []T{a, b} {
		o.SetOwnerReferences(nil)
		o.SetFinalizers(nil)
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
		o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return equality.Semantic.DeepEqual(a, b)
}

// maySigner asks for a verb on a signer, and on all signers of its domain.
func maySigner(ctx context.Context, a authorizer.UnconditionalAuthorizer, u user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, _, _ := a.Authorize(ctx, authorizer.AttributesRecord{
			User: u, Verb: verb, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name, ResourceRequest: true,
		})
		if decision == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}

func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

func requestedName(text []byte) (string, error) {
	request, err := parseRequest(text)
	if err != nil {
		return "", fmt.Errorf("unable to parse csr: %w", err)
	}
	return request.Subject.CommonName, nil
}
