package spec

import (
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// DefaultMaskedPaths and DefaultReadonlyPaths are what a container config
// without any security context gets; with one, the caller decides (the CRI has
// no way to tell "none" from "not said").
var (
	DefaultMaskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	DefaultReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func setSecurity(in *Input, s *specs.Spec) error {
	sc := in.security()
	switch {
	case sc == nil:
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = DefaultMaskedPaths, DefaultReadonlyPaths
	case !sc.Privileged:
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = sc.MaskedPaths, sc.ReadonlyPaths
	}
	if err := setSeccomp(in, s); err != nil {
		return err
	}
	if err := setAppArmor(in, s); err != nil {
		return err
	}
	setSELinux(in, s)
	return nil
}

func setSeccomp(in *Input, s *specs.Spec) error {
	profile := SeccompProfile(in.Config)
	if profile.ProfileType == runtimeapi.SecurityProfile_Unconfined || in.privileged() {
		return nil
	}
	if !in.Host.Seccomp {
		return invalid("seccomp is not supported by this kernel")
	}
	if profile.ProfileType == runtimeapi.SecurityProfile_RuntimeDefault {
		s.Linux.Seccomp = seccomp.DefaultProfile(s)
		return nil
	}
	if in.Seccomp == nil {
		return invalid("seccomp profile %q was not read", profile.LocalhostRef)
	}
	s.Linux.Seccomp = in.Seccomp
	return nil
}

// SeccompProfile is the profile that a container asks for, in either of the
// CRI's two ways; none is Unconfined.
func SeccompProfile(c *runtimeapi.ContainerConfig) *runtimeapi.SecurityProfile {
	sc := c.GetLinux().GetSecurityContext()
	if p := sc.GetSeccomp(); p != nil {
		return p
	}
	old := sc.GetSeccompProfilePath() //nolint:staticcheck // still sent by old clients
	if ref, ok := strings.CutPrefix(old, "localhost/"); ok {
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: ref}
	}
	if old == "runtime/default" || old == "docker/default" {
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
}

// setAppArmor names a profile that the administrator has loaded. There is no
// default profile of our own: RuntimeDefault is then unconfined.
func setAppArmor(in *Input, s *specs.Spec) error {
	p := in.security().GetApparmor()
	if p.GetProfileType() != runtimeapi.SecurityProfile_Localhost || in.privileged() {
		return nil
	}
	if !in.Host.AppArmor {
		return invalid("AppArmor profile %q: AppArmor is not enabled on the node", p.LocalhostRef)
	}
	s.Process.ApparmorProfile = strings.TrimPrefix(p.LocalhostRef, "localhost/")
	return nil
}

func setSELinux(in *Input, s *specs.Spec) {
	o := in.security().GetSelinuxOptions()
	if o == nil || !in.Host.SELinux || in.privileged() {
		return
	}
	fill := func(v, otherwise string) string {
		if v == "" {
			return otherwise
		}
		return v
	}
	level := fill(o.Level, "s0")
	s.Process.SelinuxLabel = strings.Join([]string{fill(o.User, "system_u"), fill(o.Role, "system_r"), fill(o.Type, "container_t"), level}, ":")
	s.Linux.MountLabel = strings.Join([]string{"system_u", "object_r", "container_file_t", level}, ":")
}
