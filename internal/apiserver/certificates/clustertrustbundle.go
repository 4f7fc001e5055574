package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ClusterTrustBundle holds certificates that pods may trust, of one signer or
// of nobody in particular.
func clusterTrustBundles() resource.Resource {
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "clustertrustbundles",
		Singular:     "clustertrustbundle",
		Kind:         "ClusterTrustBundle",
		New:          func() runtime.Object { return &certificatesv1.ClusterTrustBundle{} },
		NewList:      func() runtime.Object { return &certificatesv1.ClusterTrustBundleList{} },
		Check:        meta.Check(func(b *certificatesv1.ClusterTrustBundle) field.ErrorList { return checkBundle(b, true) }),
		CheckName:    func(name string, _ bool) []string { return content.IsPathSegmentName(name) }, // the rest depends on the signer
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(checkBundleUpdate),
		},
		Fields: meta.Fields(func(b *certificatesv1.ClusterTrustBundle) fields.Set {
			return fields.Set{"spec.signerName": b.Spec.SignerName}
		}),
		Columns: meta.Table(meta.Name(), meta.String("SignerName", certificatesv1.ClusterTrustBundleSpec{}.SwaggerDoc()["signerName"])),
		Row: meta.Row(func(b *certificatesv1.ClusterTrustBundle, _ metav1.Time) []any {
			if b.Spec.SignerName == "" {
				return []any{b.Name, meta.None}
			}
			return []any{b.Name, b.Spec.SignerName}
		}),
	}
}

const largestBundle = 1 << 20

// checkBundle: the bundle itself is parsed only where it changed, for the rules
// of parsing change with the Go that does it.
func checkBundle(b *certificatesv1.ClusterTrustBundle, parse bool) field.ErrorList {
	errs := meta.Invalid(field.NewPath("metadata", "name"), b.Name, checkBundleName(b.Name, b.Spec.SignerName))
	if b.Spec.SignerName != "" {
		errs = append(errs, podspec.ValidateSignerName(b.Spec.SignerName, field.NewPath("spec", "signerName"))...)
	}
	if parse {
		errs = append(errs, checkAnchors(field.NewPath("spec", "trustBundle"), b.Spec.TrustBundle)...)
	}
	return errs
}

// checkBundleName: a signer's bundles are named after it, "example.com:signer:name".
func checkBundleName(name, signer string) []string {
	if signer == "" {
		if strings.Contains(name, ":") {
			return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
		}
		return apivalidation.NameIsDNSSubdomain(name, false)
	}
	prefix := strings.ReplaceAll(signer, "/", ":") + ":"
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, prefix)}
	}
	return apivalidation.NameIsDNSSubdomain(rest, false)
}

func checkAnchors(path *field.Path, bundle string) field.ErrorList {
	if len(bundle) > largestBundle {
		return field.ErrorList{field.TooLong(path, "", largestBundle)}
	}
	var errs field.ErrorList
	refuse := func(format string, args ...any) {
		errs = append(errs, field.Invalid(path, "<value omitted>", fmt.Sprintf(format, args...)))
	}
	var order []string
	entries := map[string][]int{}
	block, rest := pem.Decode([]byte(bundle))
	for i := 0; block != nil; i++ {
		if wrong := wrongAnchor(block); wrong != "" {
			refuse("entry %d %s", i, wrong)
		}
		if entries[string(block.Bytes)] == nil {
			order = append(order, string(block.Bytes))
		}
		entries[string(block.Bytes)] = append(entries[string(block.Bytes)], i)
		block, rest = pem.Decode(rest)
	}
	if len(errs) > 0 {
		return errs
	}
	if len(order) == 0 {
		refuse("at least one trust anchor must be provided")
	}
	for _, anchor := range order {
		if len(entries[anchor]) > 1 {
			refuse("duplicate trust anchor (indices %v)", entries[anchor])
		}
	}
	return errs
}

func wrongAnchor(block *pem.Block) string {
	if block.Type != "CERTIFICATE" {
		return "has bad block type: " + block.Type
	}
	if len(block.Headers) != 0 {
		return "has PEM block headers"
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "does not parse as X.509"
	case !certificate.IsCA:
		return "does not have the CA bit set"
	case !certificate.BasicConstraintsValid:
		return "has invalid basic constraints"
	}
	return ""
}

func checkBundleUpdate(b, old *certificatesv1.ClusterTrustBundle) field.ErrorList {
	return append(checkBundle(b, b.Spec.TrustBundle != old.Spec.TrustBundle),
		meta.Unchanged(field.NewPath("spec", "signerName"), b.Spec.SignerName, old.Spec.SignerName)...)
}
