package certificates

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/mail"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

// Limits of a pod's certificate; sizes in bytes, lifetimes in seconds.
const (
	longestUID          = 128
	largestKey          = 10 << 10
	largestChain        = 100 << 10
	shortestPodLifetime = 60 * 60
	longestPodLifetime  = 91 * 24 * 60 * 60
	longestOwnLifetime  = 24 * 60 * 60 // of signers of the cluster itself
)

func checkPodCertificateRequest(r *certificatesv1.PodCertificateRequest) field.ErrorList {
	path, spec := field.NewPath("spec"), &r.Spec
	errs := podspec.ValidateSignerName(spec.SignerName, path.Child("signerName"))
	for _, key := range meta.Sorted(spec.UnverifiedUserAnnotations) {
		errs = append(errs, validation.IsDomainPrefixedKey(path.Child("unverifiedUserAnnotations"), strings.ToLower(key))...)
	}
	if apivalidation.ValidateAnnotationsSize(spec.UnverifiedUserAnnotations) != nil {
		errs = append(errs, field.TooLong(path.Child("unverifiedUserAnnotations"), "", apivalidation.TotalAnnotationSizeLimitB))
	}
	for _, of := range []struct {
		name, value string
		uid         types.UID
	}{
		{"pod", spec.PodName, spec.PodUID},
		{"serviceAccount", spec.ServiceAccountName, spec.ServiceAccountUID},
		{"node", string(spec.NodeName), spec.NodeUID},
	} {
		errs = append(errs, meta.Invalid(path.Child(of.name+"Name"), of.value, apivalidation.NameIsDNSSubdomain(of.value, false))...)
		errs = append(errs, checkUID(path.Child(of.name+"UID"), of.uid)...)
	}
	if spec.MaxExpirationSeconds == nil {
		return append(errs, field.Required(path.Child("maxExpirationSeconds"), "must be set"))
	}
	longest := int32(longestPodLifetime)
	if isKubernetesSigner(spec.SignerName) {
		longest = longestOwnLifetime
	}
	if seconds := *spec.MaxExpirationSeconds; seconds < shortestPodLifetime || seconds > longest {
		errs = append(errs, field.Invalid(path.Child("maxExpirationSeconds"), seconds, fmt.Sprintf("must be in the range [%d, %d]", shortestPodLifetime, longest)))
	}
	return append(errs, checkStub(path.Child("stubPKCS10Request"), spec.StubPKCS10Request)...)
}

func checkUID(path *field.Path, uid types.UID) field.ErrorList {
	if uid == "" {
		return field.ErrorList{field.Invalid(path, uid, "must not be empty")}
	}
	if len(uid) > longestUID {
		return field.ErrorList{field.TooLong(path, uid, longestUID)}
	}
	return nil
}

// checkStub checks a PKCS#10 request of which only key and signature matter: that
// the asker has the key.
func checkStub(path *field.Path, stub []byte) field.ErrorList {
	if len(stub) > largestKey {
		return field.ErrorList{field.TooLong(path, stub, largestKey)}
	}
	parsed, err := x509.ParseCertificateRequest(stub)
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must be a valid PKCS#10 CSR")}
	}
	if errs := checkPublicKey(path, parsed.PublicKey); len(errs) > 0 {
		return errs
	}
	if parsed.CheckSignature() != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "invalid signature")}
	}
	return nil
}

func checkPublicKey(path *field.Path, key crypto.PublicKey) field.ErrorList {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return field.ErrorList{field.Invalid(path, "curve "+key.Curve.Params().Name, "elliptic public keys must use curve P256, P384, or P521")}
		}
		return nil
	case *rsa.PublicKey:
		if bits := key.Size() * 8; bits != 3072 && bits != 4096 {
			return field.ErrorList{field.Invalid(path, fmt.Sprintf("%d-bit modulus", bits), "RSA keys must have modulus size 3072 or 4096")}
		}
		return nil
	}
	return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")}
}

// checkPodCertificateRequestStatus: a request is issued, denied or failed once;
// before and after it nothing changes.
func checkPodCertificateRequestStatus(ctx context.Context, obj, before runtime.Object) field.ErrorList {
	r, old := obj.(*certificatesv1.PodCertificateRequest), before.(*certificatesv1.PodCertificateRequest)
	status := field.NewPath("status")
	errs := checkPodVerdicts(status.Child("conditions"), r.Status.Conditions)
	if len(errs) > 0 {
		return errs
	}
	fixed := func(want certificatesv1.PodCertificateRequestStatus, why string) field.ErrorList {
		if equality.Semantic.DeepEqual(r.Status, want) {
			return nil
		}
		return field.ErrorList{field.Invalid(status, field.OmitValueType{}, why)}
	}
	switch verdict := podVerdict(r); {
	case podVerdict(old) != "":
		return fixed(old.Status, "immutable after PodCertificateRequest is issued, denied, or failed")
	case verdict == certificatesv1.PodCertificateRequestConditionTypeIssued:
		now, _ := meta.RequestTime(ctx)
		return checkPodCertificate(status, r, now)
	case verdict != "":
		return fixed(certificatesv1.PodCertificateRequestStatus{Conditions: r.Status.Conditions},
			"non-condition status fields must be empty when denying or failing the PodCertificateRequest")
	}
	return fixed(old.Status, `status is immutable unless transitioning to "Issued", "Denied", or "Failed"`)
}

func podVerdict(r *certificatesv1.PodCertificateRequest) string {
	for _, c := range r.Status.Conditions {
		if isVerdict(c.Type) && c.Status == metav1.ConditionTrue {
			return c.Type
		}
	}
	return ""
}

func checkPodVerdicts(path *field.Path, conditions []metav1.Condition) field.ErrorList {
	var errs field.ErrorList
	verdicts := 0
	for i, c := range conditions {
		at := path.Child(fmt.Sprintf("[%d]", i))
		if !isVerdict(c.Type) {
			errs = append(errs, field.NotSupported(at.Child("type"), c.Type, []string{
				certificatesv1.PodCertificateRequestConditionTypeIssued, certificatesv1.PodCertificateRequestConditionTypeDenied, certificatesv1.PodCertificateRequestConditionTypeFailed,
			}))
			continue
		}
		if verdicts++; verdicts > 1 {
			errs = append(errs, field.Invalid(at.Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
		}
		if c.Status != metav1.ConditionTrue {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
		}
	}
	return append(errs, metavalidation.ValidateConditions(conditions, path)...)
}

// checkPodCertificate checks what was issued: for the key that was asked for, as
// long as was asked for, and dated in the status as in itself.
func checkPodCertificate(path *field.Path, r *certificatesv1.PodCertificateRequest, now metav1.Time) field.ErrorList {
	chain, text := path.Child("certificateChain"), r.Status.CertificateChain
	if len(text) > largestChain {
		return field.ErrorList{field.TooLong(chain, text, largestChain)}
	}
	leaf, wrong := parsePodChain(text)
	if wrong != "" {
		return field.ErrorList{field.Invalid(chain, text, wrong)}
	}
	errs := checkLeafNames(chain, leaf)
	if key, ok := requestedKey(&r.Spec).(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(leaf.PublicKey) {
		return append(errs, field.Invalid(chain, text, "leaf certificate was not issued to the requested public key"))
	}
	if missing := checkPodDates(path, r); len(missing) > 0 {
		return append(errs, missing...)
	}
	return append(errs, checkPodLifetime(path, r, leaf, now)...)
}

func parsePodChain(text string) (*x509.Certificate, string) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, "issued certificate chain must contain at least one certificate"
	}
	var leaf *x509.Certificate
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil && leaf == nil:
			return nil, "leaf certificate does not parse as valid X.509"
		case err != nil:
			return nil, "intermediate certificate does not parse as valid X.509"
		case leaf == nil:
			leaf = parsed
		}
	}
	return leaf, ""
}

func checkLeafNames(path *field.Path, leaf *x509.Certificate) field.ErrorList {
	var errs field.ErrorList
	for _, name := range leaf.DNSNames {
		switch {
		case name == "":
			errs = append(errs, field.Invalid(path, name, "leaf certificate should not contain empty DNSName"))
		case strings.Contains(name, ".."):
			errs = append(errs, field.Invalid(path, name, "leaf certificate's DNSName should not contain '..'"))
		case strings.HasPrefix(name, ".") || strings.HasSuffix(name, "."):
			errs = append(errs, field.Invalid(path, name, "leaf certificate's DNSName should not start or end with '.'"))
		}
	}
	for _, address := range leaf.EmailAddresses {
		if _, err := mail.ParseAddress(address); err != nil {
			errs = append(errs, field.Invalid(path, address, "leaf certificate should not contain invalid EmailAddress"))
		}
	}
	return errs
}

func requestedKey(spec *certificatesv1.PodCertificateRequestSpec) crypto.PublicKey {
	parsed, err := x509.ParseCertificateRequest(spec.StubPKCS10Request)
	if err != nil {
		return nil
	}
	return parsed.PublicKey
}

func checkPodDates(path *field.Path, r *certificatesv1.PodCertificateRequest) field.ErrorList {
	var errs field.ErrorList
	if r.Status.NotBefore == nil {
		errs = append(errs, field.Required(path.Child("notBefore"), "must be present and consistent with the issued certificate"))
	}
	if r.Status.NotAfter == nil {
		errs = append(errs, field.Required(path.Child("notAfter"), "must be present and consistent with the issued certificate"))
	}
	if r.Status.BeginRefreshAt == nil {
		errs = append(errs, field.Required(path.Child("beginRefreshAt"), "must be present and in the range [notbefore+10min, notafter-10min]"))
	}
	return errs
}

func checkPodLifetime(path *field.Path, r *certificatesv1.PodCertificateRequest, leaf *x509.Certificate, now metav1.Time) field.ErrorList {
	const margin, skew = 10 * time.Minute, 5 * time.Minute
	from, to, refresh := r.Status.NotBefore.Time, r.Status.NotAfter.Time, r.Status.BeginRefreshAt.Time
	lifetime, asked := leaf.NotAfter.Sub(leaf.NotBefore), meta.Deref(r.Spec.MaxExpirationSeconds, 0)
	switch {
	case !from.Equal(leaf.NotBefore):
		return field.ErrorList{field.Invalid(path.Child("notBefore"), from, "must be set to the NotBefore time encoded in the leaf certificate")}
	case !now.IsZero() && from.Sub(now.Time).Abs() >= skew:
		return field.ErrorList{field.Invalid(path.Child("notBefore"), from, "must be set to within 5 minutes of kube-apiserver's current time")}
	case !to.Equal(leaf.NotAfter):
		return field.ErrorList{field.Invalid(path.Child("notAfter"), to, "must be set to the NotAfter time encoded in the leaf certificate")}
	case lifetime < time.Hour:
		return field.ErrorList{field.Invalid(path.Child("certificateChain"), lifetime, "leaf certificate lifetime must be >= 1 hour")}
	case lifetime > time.Duration(asked)*time.Second:
		return field.ErrorList{field.Invalid(path.Child("certificateChain"), lifetime, fmt.Sprintf("leaf certificate lifetime must be <= spec.maxExpirationSeconds (%v)", asked))}
	case refresh.Before(from.Add(margin)):
		return field.ErrorList{field.Invalid(path.Child("beginRefreshAt"), refresh, "must be at least 10 minutes after status.notBefore")}
	case refresh.After(to.Add(-margin)):
		return field.ErrorList{field.Invalid(path.Child("beginRefreshAt"), refresh, "must be at least 10 minutes before status.notAfter")}
	}
	return nil
}
