package podspec

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkOS: a spec that names its operating system may not set the other's fields.
func (s *scope) checkOS() field.ErrorList {
	os, at := s.spec.OS, s.path.Child("os")
	if os == nil {
		return nil
	}
	switch os.Name {
	case v1.Linux:
		return s.checkLinux()
	case v1.Windows:
		return s.checkWindows()
	case "":
		return field.ErrorList{field.Required(at.Child("name"), "")}
	default:
		return meta.Supported(at, os.Name, v1.Linux, v1.Windows)
	}
}

func (s *scope) checkLinux() field.ErrorList {
	const refusal = "windows options cannot be set for a linux pod"
	var errs field.ErrorList
	if c := s.spec.SecurityContext; c != nil && c.WindowsOptions != nil {
		errs = append(errs, field.Forbidden(s.path.Child("securityContext", "windowsOptions"), refusal))
	}
	for c, at := range AllAt(s.spec, s.path) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			errs = append(errs, field.Forbidden(at.Child("securityContext", "windowsOptions"), refusal))
		}
	}
	return errs
}

// linuxOnly is a field that Windows has no use for.
type linuxOnly struct {
	name string
	set  bool
}

func refuseOnWindows(at *field.Path, fields ...linuxOnly) field.ErrorList {
	var errs field.ErrorList
	for _, f := range fields {
		if f.set {
			errs = append(errs, field.Forbidden(at.Child(f.name), "cannot be set for a windows pod"))
		}
	}
	return errs
}

func (s *scope) checkWindows() field.ErrorList {
	var errs field.ErrorList
	if c := s.spec.SecurityContext; c != nil {
		errs = refuseOnWindows(s.path.Child("securityContext"),
			linuxOnly{"appArmorProfile", c.AppArmorProfile != nil},
			linuxOnly{"seLinuxOptions", c.SELinuxOptions != nil},
			linuxOnly{"seccompProfile", c.SeccompProfile != nil},
			linuxOnly{"fsGroup", c.FSGroup != nil},
			linuxOnly{"fsGroupChangePolicy", c.FSGroupChangePolicy != nil},
			linuxOnly{"sysctls", len(c.Sysctls) > 0},
			linuxOnly{"runAsUser", c.RunAsUser != nil},
			linuxOnly{"runAsGroup", c.RunAsGroup != nil},
			linuxOnly{"supplementalGroups", c.SupplementalGroups != nil},
			linuxOnly{"supplementalGroupsPolicy", c.SupplementalGroupsPolicy != nil},
			linuxOnly{"seLinuxChangePolicy", c.SELinuxChangePolicy != nil},
		)
	}
	errs = append(errs, refuseOnWindows(s.path,
		linuxOnly{"hostUsers", s.spec.HostUsers != nil},
		linuxOnly{"hostPID", s.spec.HostPID},
		linuxOnly{"hostIPC", s.spec.HostIPC},
		linuxOnly{"shareProcessNamespace", s.spec.ShareProcessNamespace != nil},
	)...)
	for c, at := range AllAt(s.spec, s.path) {
		if c := c.SecurityContext; c != nil {
			errs = append(errs, refuseOnWindows(at.Child("securityContext"),
				linuxOnly{"appArmorProfile", c.AppArmorProfile != nil},
				linuxOnly{"seLinuxOptions", c.SELinuxOptions != nil},
				linuxOnly{"seccompProfile", c.SeccompProfile != nil},
				linuxOnly{"capabilities", c.Capabilities != nil},
				linuxOnly{"readOnlyRootFilesystem", c.ReadOnlyRootFilesystem != nil},
				linuxOnly{"privileged", c.Privileged != nil},
				linuxOnly{"allowPrivilegeEscalation", c.AllowPrivilegeEscalation != nil},
				linuxOnly{"procMount", c.ProcMount != nil},
				linuxOnly{"runAsUser", c.RunAsUser != nil},
				linuxOnly{"runAsGroup", c.RunAsGroup != nil},
			)...)
		}
	}
	return errs
}

// checkHostProcess: a pod of Windows host processes has nothing else in it, and the host's network.
func (s *scope) checkHostProcess() field.ErrorList {
	var ofPod *bool
	if c := s.spec.SecurityContext; c != nil && c.WindowsOptions != nil {
		ofPod = c.WindowsOptions.HostProcess
	}
	var errs field.ErrorList
	containers, hostProcesses := 0, 0
	for c, at := range AllAt(s.spec, s.path) {
		containers++
		of := ofPod
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			if own := c.SecurityContext.WindowsOptions.HostProcess; own != nil {
				of = own
				if ofPod != nil && *own != *ofPod {
					errs = append(errs, field.Invalid(at.Child("securityContext", "windowsOptions", "hostProcess"), *own, fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *ofPod)))
				}
			}
		}
		if isTrue(of) {
			hostProcesses++
		}
	}
	if hostProcesses == 0 {
		return errs
	}
	if hostProcesses != containers {
		errs = append(errs, field.Invalid(s.path, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !s.spec.HostNetwork {
		errs = append(errs, field.Invalid(s.path.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return errs
}

const (
	maxCredentialSpecKiB = 64
	maxUserDomain        = 256
	maxUserName          = 104
)

// Windows account names: https://learn.microsoft.com/windows-server/identity/ad-ds/manage/understand-active-directory-naming
var (
	controlCharacters = regexp.MustCompile(`[[:cntrl:]]+`)
	netBIOSName       = regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`)
	accountDomain     = regexp.MustCompile(`^` + accountLabel + `(?:\.` + accountLabel + `)*$`)
	userNameRefused   = regexp.MustCompile(`["/\\:;|=,\+\*\?<>@\[\]]`)
	dotsAndSpaces     = regexp.MustCompile(`^[\. ]+$`)
)

const accountLabel = `[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`

func checkWindowsOptions(o *v1.WindowsSecurityContextOptions, at *field.Path) field.ErrorList {
	if o == nil {
		return nil
	}
	var errs field.ErrorList
	if name := o.GMSACredentialSpecName; name != nil {
		errs = append(errs, meta.Invalid(at.Child("gmsaCredentialSpecName"), name, validation.IsDNS1123Subdomain(*name))...)
	}
	if spec := o.GMSACredentialSpec; spec != nil {
		if *spec == "" {
			errs = append(errs, field.Invalid(at.Child("gmsaCredentialSpec"), spec, "gmsaCredentialSpec cannot be an empty string"))
		} else if len(*spec) > maxCredentialSpecKiB<<10 {
			errs = append(errs, field.Invalid(at.Child("gmsaCredentialSpec"), spec, fmt.Sprintf("gmsaCredentialSpec size must be under %d KiB", maxCredentialSpecKiB)))
		}
	}
	if o.RunAsUserName != nil {
		errs = append(errs, meta.Invalid(at.Child("runAsUserName"), o.RunAsUserName, badAccount(*o.RunAsUserName))...)
	}
	return errs
}

// badAccount says what is wrong with DOMAIN\user or user.
func badAccount(name string) []string {
	switch {
	case name == "":
		return []string{"runAsUserName cannot be an empty string"}
	case controlCharacters.MatchString(name):
		return []string{"runAsUserName cannot contain control characters"}
	case strings.Count(name, `\`) > 1:
		return []string{"runAsUserName cannot contain more than one backslash"}
	}
	domain, user, hasDomain := strings.Cut(name, `\`)
	if !hasDomain {
		domain, user = "", name
	}
	var msgs []string
	if len(domain) >= maxUserDomain {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", maxUserDomain))
	}
	if hasDomain && !netBIOSName.MatchString(domain) && !accountDomain.MatchString(domain) {
		msgs = append(msgs, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
	}
	if user == "" {
		msgs = append(msgs, "runAsUserName's User cannot be empty")
	} else if len(user) > maxUserName {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", maxUserName))
	}
	if dotsAndSpaces.MatchString(user) {
		msgs = append(msgs, "runAsUserName's User cannot contain only periods or spaces")
	}
	if userNameRefused.MatchString(user) {
		msgs = append(msgs, `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
	return msgs
}
