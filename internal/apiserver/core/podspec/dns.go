package podspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// What the C library's resolver reads of resolv.conf(5), and what fits a line.
const (
	maxNameservers      = 3
	maxSearchDomains    = 32
	maxSearchCharacters = 2048
	maxHostname         = 64
)

func (s *scope) checkDNSConfig() field.ErrorList {
	c, at := s.spec.DNSConfig, s.path.Child("dnsConfig")
	if s.spec.DNSPolicy == v1.DNSNone {
		if c == nil {
			return field.ErrorList{field.Required(at, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		if len(c.Nameservers) == 0 {
			return field.ErrorList{field.Required(at.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")}
		}
	}
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(at.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ip := range c.Nameservers {
		errs = append(errs, meta.IP(at.Child("nameservers").Index(i), ip)...)
	}
	errs = append(errs, checkSearches(c.Searches, at.Child("searches"))...)
	for i, option := range c.Options {
		if option.Name == "" {
			errs = append(errs, field.Required(at.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

func checkSearches(searches []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(searches) > maxSearchDomains {
		errs = append(errs, field.Invalid(at, searches, fmt.Sprintf("must not have more than %v search paths", maxSearchDomains)))
	}
	if len(strings.Join(searches, " ")) > maxSearchCharacters {
		errs = append(errs, field.Invalid(at, searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchCharacters)))
	}
	for i, search := range searches {
		if search != "." {
			search = strings.TrimSuffix(search, ".")
			errs = append(errs, meta.Invalid(at.Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))...)
		}
	}
	return errs
}

func checkHostAliases(aliases []v1.HostAlias, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, alias := range aliases {
		errs = append(errs, meta.IP(path.Index(i).Child("ip"), alias.IP)...)
		for j, name := range alias.Hostnames {
			errs = append(errs, meta.DNSSubdomain(path.Index(i).Child("hostnames").Index(j), name)...)
		}
	}
	return errs
}

func (s *scope) checkHostnameOverride() field.ErrorList {
	name, at := s.spec.HostnameOverride, s.path.Child("hostnameOverride")
	if name == nil {
		return nil
	}
	var errs field.ErrorList
	if isTrue(s.spec.SetHostnameAsFQDN) {
		errs = append(errs, field.Forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
	}
	if s.spec.HostNetwork {
		errs = append(errs, field.Forbidden(at, "may not be specified when hostNetwork is true"))
	}
	if len(*name) > maxHostname {
		errs = append(errs, field.TooLong(at, "", maxHostname))
	}
	return append(errs, meta.DNSSubdomain(at, *name)...)
}
