package podspec

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/node/util/sysctl"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func isPrivileged(c *v1.SecurityContext) bool { return c != nil && isTrue(c.Privileged) }

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

func checkUser(id *int64, at *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return meta.Invalid(at, *id, validation.IsValidUserID(*id))
}

func checkGroup(id *int64, at *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return meta.Invalid(at, *id, validation.IsValidGroupID(*id))
}

func (s *scope) checkPodSecurityContext() field.ErrorList {
	c, at := s.spec.SecurityContext, s.path.Child("securityContext")
	if c == nil {
		return nil
	}
	errs := meta.Join(
		checkGroup(c.FSGroup, at.Child("fsGroup")),
		checkUser(c.RunAsUser, at.Child("runAsUser")),
		checkGroup(c.RunAsGroup, at.Child("runAsGroup")),
	)
	for i := range c.SupplementalGroups {
		errs = append(errs, checkGroup(&c.SupplementalGroups[i], at.Child("supplementalGroups").Index(i))...)
	}
	errs = append(errs, s.checkSysctls(c.Sysctls, at.Child("sysctls"))...)
	if c.FSGroupChangePolicy != nil {
		errs = append(errs, meta.Supported(at.Child("fsGroupChangePolicy"), *c.FSGroupChangePolicy, v1.FSGroupChangeOnRootMismatch, v1.FSGroupChangeAlways)...)
	}
	errs = append(errs, meta.Join(
		checkSeccomp(c.SeccompProfile, at.Child("seccompProfile")),
		checkWindowsOptions(c.WindowsOptions, at.Child("windowsOptions")),
		CheckAppArmor(c.AppArmorProfile, at.Child("appArmorProfile")),
	)...)
	if c.SupplementalGroupsPolicy != nil {
		errs = append(errs, meta.Supported(at.Child("supplementalGroupsPolicy"), *c.SupplementalGroupsPolicy, v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)...)
	}
	if c.SELinuxChangePolicy != nil {
		errs = append(errs, meta.Supported(at.Child("seLinuxChangePolicy"), *c.SELinuxChangePolicy, v1.SELinuxChangePolicyRecursive, v1.SELinuxChangePolicyMountOption)...)
	}
	return errs
}

const (
	sysctlMaxLength = 253
	sysctlPart      = `[a-z0-9]([-_a-z0-9]*[a-z0-9])?`
)

// sysctlName: as sysctl(8) takes it, parts joined by dots or slashes.
var sysctlName = regexp.MustCompile(`^(` + sysctlPart + `[\./])*` + sysctlPart + `$`)

func (s *scope) checkSysctls(sysctls []v1.Sysctl, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[string]{}
	for i, c := range sysctls {
		at := path.Index(i).Child("name")
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(at, ""))
		case len(c.Name) > sysctlMaxLength || !sysctlName.MatchString(c.Name):
			errs = append(errs, field.Invalid(at, c.Name, fmt.Sprintf("must have at most %d characters and match regex %s", sysctlMaxLength, sysctlName)))
		case seen.Has(c.Name):
			errs = append(errs, field.Duplicate(at, c.Name))
		}
		if !s.AllowHostNamespaceSysctls {
			errs = append(errs, checkHostSysctl(c.Name, s.spec, at)...)
		}
		seen.Insert(c.Name)
	}
	return errs
}

// checkHostSysctl: a setting of a namespace shared with the host would be the host's.
func checkHostSysctl(name string, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	switch namespace, _, _ := sysctl.GetNamespace(name); {
	case spec.HostNetwork && namespace == sysctl.NetNamespace:
		return field.ErrorList{field.Invalid(at, name, "may not be specified when 'hostNetwork' is true")}
	case spec.HostIPC && namespace == sysctl.IPCNamespace:
		return field.ErrorList{field.Invalid(at, name, "may not be specified when 'hostIPC' is true")}
	}
	return nil
}

func (s *scope) checkSecurityContext(c *v1.SecurityContext, at *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	errs := meta.Join(checkUser(c.RunAsUser, at.Child("runAsUser")), checkGroup(c.RunAsGroup, at.Child("runAsGroup")))
	if mount := c.ProcMount; mount != nil {
		errs = append(errs, meta.Supported(at.Child("procMount"), *mount, v1.DefaultProcMount, v1.UnmaskedProcMount)...)
		if *mount == v1.UnmaskedProcMount && !s.userNamespace() {
			errs = append(errs, field.Invalid(at.Child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	return append(errs, meta.Join(
		checkSeccomp(c.SeccompProfile, at.Child("seccompProfile")),
		s.checkEscalation(c, at),
		checkWindowsOptions(c.WindowsOptions, at.Child("windowsOptions")),
		CheckAppArmor(c.AppArmorProfile, at.Child("appArmorProfile")),
	)...)
}

// checkEscalation: no_new_privs means nothing to a process that has everything already.
func (s *scope) checkEscalation(c *v1.SecurityContext, at *field.Path) field.ErrorList {
	if !isFalse(c.AllowPrivilegeEscalation) {
		return nil
	}
	var errs field.ErrorList
	if isTrue(c.Privileged) {
		errs = append(errs, field.Invalid(at, c, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
	}
	if c.Capabilities == nil || s.AllowSysAdminUnprivileged {
		return errs
	}
	for _, capability := range c.Capabilities.Add {
		if capability == "CAP_SYS_ADMIN" {
			errs = append(errs, field.Invalid(at, c, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	return errs
}

func checkSeccomp(p *v1.SeccompProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	switch p.Type {
	case v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined:
	case "":
		errs = append(errs, field.Required(at.Child("type"), "type is required when seccompProfile is set"))
	default:
		errs = append(errs, field.NotSupported(at.Child("type"), p.Type, []v1.SeccompProfileType{v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined}))
	}
	local := p.Type == v1.SeccompProfileTypeLocalhost
	switch {
	case local && p.LocalhostProfile == nil:
		errs = append(errs, field.Required(at.Child("localhostProfile"), "must be set when seccomp type is Localhost"))
	case local:
		errs = append(errs, relativePath(at.Child("localhostProfile"), *p.LocalhostProfile)...)
	case p.LocalhostProfile != nil:
		errs = append(errs, field.Invalid(at.Child("localhostProfile"), p, "can only be set when seccomp type is Localhost"))
	}
	return errs
}

const appArmorMaxLength = 4095 // PATH_MAX less the final zero

// CheckAppArmor reports what is wrong with an AppArmor profile.
func CheckAppArmor(p *v1.AppArmorProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	const needed = "must be set when AppArmor type is Localhost"
	local, name := at.Child("localhostProfile"), p.LocalhostProfile
	switch p.Type {
	case v1.AppArmorProfileTypeLocalhost:
		if name == nil {
			return field.ErrorList{field.Required(local, needed)}
		}
		var errs field.ErrorList
		if trimmed := strings.TrimSpace(*name); trimmed != *name {
			errs = append(errs, field.Invalid(local, *name, "must not be padded with whitespace"))
		} else if trimmed == "" {
			errs = append(errs, field.Required(local, needed))
		}
		if len(*name) > appArmorMaxLength {
			errs = append(errs, field.TooLong(local, "", appArmorMaxLength))
		}
		return errs
	case v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined:
		if name != nil {
			return field.ErrorList{field.Invalid(local, name, "can only be set when AppArmor type is Localhost")}
		}
		return nil
	case "":
		return field.ErrorList{field.Required(at.Child("type"), "type is required when appArmorProfile is set")}
	default:
		return field.ErrorList{field.NotSupported(at.Child("type"), p.Type, []v1.AppArmorProfileType{v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined})}
	}
}

func (s *scope) checkShareProcessNamespace() field.ErrorList {
	if isTrue(s.spec.ShareProcessNamespace) && s.spec.HostPID {
		return field.ErrorList{field.Invalid(s.path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")}
	}
	return nil
}

// checkUserNamespace: a pod with user IDs of its own keeps out of the host's
// other namespaces, where its root would be nobody.
func (s *scope) checkUserNamespace() field.ErrorList {
	if !s.userNamespace() {
		return nil
	}
	const refusal = "when `hostUsers` is false"
	var errs field.ErrorList
	for _, f := range []struct {
		name string // as the API has always reported it
		set  bool
	}{{"hostNetwork", s.spec.HostNetwork}, {"HostPID", s.spec.HostPID}, {"HostIPC", s.spec.HostIPC}} {
		if f.set {
			errs = append(errs, field.Forbidden(s.path.Child(f.name), refusal))
		}
	}
	if s.AllowBlockWithUserNamespace {
		return errs
	}
	for c, at := range AllAt(s.spec, s.path) {
		if len(c.VolumeDevices) > 0 { // a block device can't be mapped to other IDs
			errs = append(errs, field.Forbidden(at.Child("volumeDevices"), refusal))
		}
	}
	return errs
}
