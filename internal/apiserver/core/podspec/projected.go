package podspec

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// projection gathers the errors of one projected volume; paths of all its
// sources share one folder, so each may be used once.
type projection struct {
	volume *field.Path
	paths  sets.Set[string]
	errs   field.ErrorList
}

func (p *projection) add(errs ...*field.Error) { p.errs = append(p.errs, errs...) }

// take claims a path; said is what the error shows.
func (p *projection) take(path, said string) {
	if p.paths.Has(path) {
		p.add(field.Invalid(p.volume, said, "conflicting duplicate paths"))
	}
	p.paths.Insert(path)
}

func (s *scope) checkProjected(v *v1.ProjectedVolumeSource, at *field.Path) field.ErrorList {
	p := &projection{volume: at, paths: sets.Set[string]{}, errs: checkMode(v.DefaultMode, at.Child("defaultMode"))}
	for i := range v.Sources {
		source, at := &v.Sources[i], at.Child("sources").Index(i)
		count := 0
		if x := source.Secret; x != nil {
			count++
			p.checkKeys(x.Name, x.Items, at.Child("secret"))
		}
		if x := source.ConfigMap; x != nil {
			count++
			p.checkKeys(x.Name, x.Items, at.Child("configMap"))
		}
		if x := source.DownwardAPI; x != nil {
			count++
			p.checkFields(x.Items, at.Child("downwardAPI"))
		}
		if x := source.ServiceAccountToken; x != nil {
			count++
			p.checkToken(x, at.Child("serviceAccountToken"), s.AllowNonLocalTokenPath)
		}
		if x := source.ClusterTrustBundle; x != nil {
			count++
			p.checkTrustBundle(x, at.Child("clusterTrustBundle"))
		}
		if x := source.PodCertificate; x != nil {
			count++
			p.checkCertificate(x, at.Child("podCertificate"))
		}
		if count > 1 {
			p.add(field.Forbidden(at, "may not specify more than 1 volume type per source"))
		}
	}
	return p.errs
}

func (p *projection) checkKeys(name string, items []v1.KeyToPath, at *field.Path) {
	p.add(meta.Required(at.Child("name"), name)...)
	for i := range items {
		p.add(checkItem(&items[i], at.Child("items").Index(i))...)
		if items[i].Path != "" {
			p.take(items[i].Path, name)
		}
	}
}

func (p *projection) checkFields(items []v1.DownwardAPIVolumeFile, at *field.Path) {
	for i := range items {
		p.add(checkDownwardFile(&items[i], at)...)
		if items[i].Path != "" {
			p.take(items[i].Path, items[i].Path)
		}
	}
}

func (p *projection) checkToken(t *v1.ServiceAccountTokenProjection, at *field.Path, anyPath bool) {
	life := at.Child("expirationSeconds")
	switch seconds := t.ExpirationSeconds; {
	case seconds == nil:
		p.add(field.Required(life, ""))
	case *seconds < 10*60:
		p.add(field.Invalid(life, *seconds, "may not specify a duration less than 10 minutes"))
	case *seconds > 1<<32:
		p.add(field.Invalid(life, *seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	if t.Path == "" {
		p.add(field.Required(p.volume.Child("path"), ""))
	} else if !anyPath {
		p.add(projectedPath(p.volume.Child("path"), t.Path)...)
	}
}

func (p *projection) checkTrustBundle(b *v1.ClusterTrustBundleProjection, at *field.Path) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		p.add(field.Invalid(at, b, "only one of name and signerName may be used"))
	case b.Name != nil:
		if *b.Name == "" {
			p.add(field.Required(at.Child("name"), "must be a valid object name"))
		}
		for _, msg := range trustBundleName(*b.Name) {
			p.add(field.Invalid(at.Child("name"), *b.Name, "not a valid clustertrustbundlename: "+msg))
		}
		if b.LabelSelector != nil {
			p.add(field.Invalid(at.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified"))
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			p.add(field.Required(at.Child("signerName"), "must be a valid signer name"))
		}
		p.add(ValidateSignerName(*b.SignerName, at.Child("signerName"))...)
		p.add(meta.Selector(at.Child("labelSelector"), b.LabelSelector)...)
	default:
		p.add(field.Required(at, "either name or signerName must be specified"))
	}
	p.add(meta.Required(at.Child("path"), b.Path)...)
	p.add(projectedPath(at.Child("path"), b.Path)...)
	p.take(b.Path, b.Path)
}

// trustBundleName: a bundle of a signer is called "domain:path:name", another one plainly.
func trustBundleName(name string) []string {
	if colon := strings.LastIndex(name, ":"); colon >= 0 {
		if signer := name[:colon]; signer != "" {
			return apivalidation.NameIsDNSSubdomain(name[colon+1:], false)
		}
		return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
	}
	return apivalidation.NameIsDNSSubdomain(name, false)
}

const (
	minCertificateLife           = 3600
	maxCertificateLife           = 91 * 24 * 3600
	maxKubernetesCertificateLife = 24 * 3600
)

var certificateKeys = []string{"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}

func (p *projection) checkCertificate(c *v1.PodCertificateProjection, at *field.Path) {
	p.add(ValidateSignerName(c.SignerName, at.Child("signerName"))...)
	if c.UserAnnotations != nil {
		p.add(checkUserAnnotations(c.UserAnnotations, at.Child("userAnnotations"))...)
	}
	if !slices.Contains(certificateKeys, c.KeyType) {
		p.add(field.NotSupported(at.Child("keyType"), c.KeyType, certificateKeys))
	}
	if life := c.MaxExpirationSeconds; life != nil {
		longest := int32(maxCertificateLife)
		if isKubernetesSigner(c.SignerName) {
			longest = maxKubernetesCertificateLife
		}
		if *life < minCertificateLife {
			p.add(field.Invalid(at.Child("maxExpirationSeconds"), *life, "if provided, maxExpirationSeconds must be >= 3600"))
		}
		if *life > longest {
			p.add(field.Invalid(at.Child("maxExpirationSeconds"), *life, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", longest)))
		}
	}
	files := 0
	for _, f := range []struct{ name, path string }{
		{"credentialBundlePath", c.CredentialBundlePath},
		{"keyPath", c.KeyPath},
		{"certificateChainPath", c.CertificateChainPath},
	} {
		if f.path != "" {
			files++
			p.add(projectedPath(at.Child(f.name), f.path)...)
			p.take(f.path, f.path)
		}
	}
	if files == 0 {
		p.add(field.Required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
}

func checkUserAnnotations(annotations map[string]string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range meta.Sorted(annotations) {
		errs = append(errs, validation.IsDomainPrefixedKey(at, lower(key))...)
	}
	if apivalidation.ValidateAnnotationsSize(annotations) != nil {
		errs = append(errs, field.TooLong(at, "", apivalidation.TotalAnnotationSizeLimitB))
	}
	return errs
}

func isKubernetesSigner(name string) bool {
	host, _, _ := strings.Cut(name, "/")
	return host == "kubernetes.io" || strings.HasSuffix(host, ".kubernetes.io")
}

// ValidateSignerName checks "domain/path": a domain of two labels or more, and a
// path of dotted names, long enough for "<namespace>.<name>" of a resource.
func ValidateSignerName(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	domain, path, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(path, "/") {
		return field.ErrorList{field.Invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	const maxDomain = validation.DNS1123SubdomainMaxLength
	const maxName = maxDomain + 1 + validation.DNS1123LabelMaxLength + 1 + validation.DNS1123SubdomainMaxLength
	var errs field.ErrorList
	if len(domain) > maxDomain {
		errs = append(errs, field.TooLong(at, "", maxDomain))
	}
	errs = append(errs, checkDotted(domain, at, validation.IsDNS1123Label)...)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(at, domain, "should be a domain with at least two segments separated by dots"))
	}
	errs = append(errs, checkDotted(path, at, validation.IsDNS1123Subdomain)...)
	if len(name) > maxName {
		errs = append(errs, field.TooLong(at, "", maxName))
	}
	return errs
}

// checkDotted checks each part of a dotted name up to the first wrong one.
func checkDotted(name string, at *field.Path, check func(string) []string) field.ErrorList {
	for part := range strings.SplitSeq(name, ".") {
		msgs := check(part)
		var errs field.ErrorList
		for _, msg := range msgs {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("validating label %q: %s", part, msg)))
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}
