package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

const (
	shortestLifetime = 600 // seconds
	legacySigner     = "kubernetes.io/legacy-unknown"
)

var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageSigning, certificatesv1.UsageDigitalSignature, certificatesv1.UsageContentCommitment, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement, certificatesv1.UsageDataEncipherment, certificatesv1.UsageCertSign, certificatesv1.UsageCRLSign,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageDecipherOnly, certificatesv1.UsageAny, certificatesv1.UsageServerAuth,
	certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning, certificatesv1.UsageEmailProtection, certificatesv1.UsageSMIME,
	certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel, certificatesv1.UsageIPsecUser, certificatesv1.UsageTimestamping,
	certificatesv1.UsageOCSPSigning, certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC,
}

func checkCSRCreation(r *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return checkCSR(r, nil)
}

// checkCSR checks all of a request; what old, the stored one, breaks already, may stay.
func checkCSR(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if err := checkPKCS10(r.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(path.Child("request"), r.Spec.Request, err.Error()))
	}
	errs = append(errs, checkUsages(path.Child("usages"), r.Spec.Usages, old)...)
	if r.Spec.SignerName == legacySigner {
		if old == nil || old.Spec.SignerName != legacySigner {
			errs = append(errs, field.Invalid(path.Child("signerName"), r.Spec.SignerName, "the legacy signerName is not allowed via this API version"))
		}
	} else {
		errs = append(errs, podspec.ValidateSignerName(r.Spec.SignerName, path.Child("signerName"))...)
	}
	if seconds := r.Spec.ExpirationSeconds; seconds != nil && *seconds < shortestLifetime {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *seconds, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, checkConditions(r, old)...)
	return append(errs, checkIssued(r, old)...)
}

func checkPKCS10(request []byte) error {
	block, _ := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return parsed.CheckSignature()
}

func checkUsages(path *field.Path, list []certificatesv1.KeyUsage, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if old != nil && equality.Semantic.DeepEqual(list, old.Spec.Usages) {
		return nil
	}
	var errs field.ErrorList
	for i, usage := range list {
		errs = append(errs, meta.Supported(path.Index(i), usage, usages...)...)
	}
	for i, usage := range list {
		if slices.Contains(list[:i], usage) {
			errs = append(errs, field.Duplicate(path.Index(i), usage))
		}
	}
	return errs
}

func checkConditions(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	if old != nil && equality.Semantic.DeepEqual(r.Status.Conditions, old.Status.Conditions) {
		return nil
	}
	path := field.NewPath("status", "conditions")
	var errs field.ErrorList
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range r.Status.Conditions {
		at := path.Index(i)
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		allowed := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}
		switch c.Type { // these are there or not
		case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			allowed = allowed[:1]
		}
		errs = append(errs, meta.OneOf(at.Child("status"), c.Status, allowed...)...)
		if seen[c.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		seen[c.Type] = true
	}
	if seen[certificatesv1.CertificateApproved] && seen[certificatesv1.CertificateDenied] {
		const approved, denied = `conditions[{"type": "Approved"}]`, `conditions[{"type": "Denied"}]`
		errs = append(errs, field.Invalid(path, "{"+approved+", "+denied+"}", "must specify at most one of: `"+approved+"`, `"+denied+"`"))
	}
	return errs
}

func checkIssued(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	unchanged := old != nil && bytes.Equal(r.Status.Certificate, old.Status.Certificate)
	if unchanged || len(r.Status.Certificate) == 0 {
		return nil
	}
	if err := checkChain(r.Status.Certificate); err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("status", "certificate"), "<certificate data>", err.Error())}
	}
	return nil
}

// checkChain refuses anything but certificates.
func checkChain(data []byte) error {
	block, rest := pem.Decode(data)
	if block == nil {
		return errors.New("must contain at least one CERTIFICATE PEM block")
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		}
		if len(block.Headers) != 0 {
			return errors.New("no PEM block headers are permitted")
		}
		certificates, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err
		}
		if len(certificates) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
	}
	return nil
}

// The three ways to update a request: only /approval says yes or no, only /status
// holds the certificate, once; nothing takes a verdict back.

func checkCSRUpdate(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return meta.Join(checkCSR(r, old), checkKept(r, old), checkVerdicts(r, old), checkNotIssued(r, old))
}

func checkCSRApproval(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return meta.Join(checkCSR(r, old), checkKept(r, old), checkNotIssued(r, old))
}

func checkCSRStatus(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := meta.Join(checkCSR(r, old), checkKept(r, old), checkVerdicts(r, old))
	if len(old.Status.Certificate) > 0 && !bytes.Equal(r.Status.Certificate, old.Status.Certificate) {
		errs = append(errs, field.Forbidden(field.NewPath("status", "certificate"), "updates may not modify existing certificate content"))
	}
	return errs
}

func checkNotIssued(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	if bytes.Equal(r.Status.Certificate, old.Status.Certificate) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("status", "certificate"), "updates may not set certificate content")}
}

func conditions(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
	var found []certificatesv1.CertificateSigningRequestCondition
	for _, i := range indexes(r, t) {
		found = append(found, r.Status.Conditions[i])
	}
	return found
}

func checkKept(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	var errs field.ErrorList
	for _, t := range append(slices.Clone(verdicts), certificatesv1.CertificateFailed) {
		if len(conditions(r, t)) < len(conditions(old, t)) {
			errs = append(errs, field.Forbidden(field.NewPath("status", "conditions"), fmt.Sprintf("updates may not remove a condition of type %q", t)))
		}
	}
	return errs
}

func checkVerdicts(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status", "conditions")
	for _, t := range verdicts {
		now, before := conditions(r, t), conditions(old, t)
		switch {
		case len(now) < len(before): // refused by checkKept
		case len(now) > len(before):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not add a condition of type %q", t)))
		case !equality.Semantic.DeepEqual(now, before):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not modify a condition of type %q\n%v", t, diff.Diff(before, now))))
		}
	}
	return errs
}
