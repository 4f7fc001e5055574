package spec

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities are what unprivileged containers have had since Docker.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// setCapabilities gives the process its sets. Inheritable stays empty
// (CVE-2022-24769): a program with inheritable file capabilities must not gain
// what its user has not.
func setCapabilities(in *Input, s *specs.Spec) error {
	granted, ambient, err := capabilities(in)
	if err != nil {
		return err
	}
	s.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: granted, Effective: slices.Clone(granted), Permitted: slices.Clone(granted),
	}
	if len(ambient) > 0 { // the kernel wants ambient ⊆ permitted ∩ inheritable
		s.Process.Capabilities.Ambient = ambient
		s.Process.Capabilities.Inheritable = slices.Clone(ambient)
	}
	return nil
}

func capabilities(in *Input) (granted, ambient []string, err error) {
	if in.privileged() {
		return slices.Clone(in.Host.Capabilities), nil, nil
	}
	c := in.security().GetCapabilities()
	// What the host itself lacks is left out of the defaults, as of ALL.
	set := intersect(defaultCapabilities, in.Host.Capabilities)
	if all(c.GetAddCapabilities()) {
		set = slices.Clone(in.Host.Capabilities)
	}
	if all(c.GetDropCapabilities()) {
		set = nil
	}
	add := func(to []string, names []string) ([]string, error) {
		for _, n := range names {
			if strings.EqualFold(n, "ALL") {
				continue
			}
			name, err := capabilityName(n)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(in.Host.Capabilities, name) {
				return nil, invalid("capability %s can't be added: the node itself does not have it", name)
			}
			if !slices.Contains(to, name) {
				to = append(to, name)
			}
		}
		return to, nil
	}
	if set, err = add(set, c.GetAddCapabilities()); err != nil {
		return nil, nil, err
	}
	if ambient, err = add(nil, c.GetAddAmbientCapabilities()); err != nil {
		return nil, nil, err
	}
	if set, err = add(set, ambient); err != nil {
		return nil, nil, err
	}
	for _, n := range c.GetDropCapabilities() {
		if strings.EqualFold(n, "ALL") {
			continue
		}
		name, err := capabilityName(n)
		if err != nil {
			return nil, nil, err
		}
		drop := func(have string) bool { return have == name }
		set, ambient = slices.DeleteFunc(set, drop), slices.DeleteFunc(ambient, drop)
	}
	return set, ambient, nil
}

func all(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "ALL") })
}

// capabilityName gives the full form of NET_ADMIN, net_admin or CAP_NET_ADMIN.
func capabilityName(n string) (string, error) {
	name := strings.ToUpper(n)
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	if !slices.Contains(cap.Known(), name) {
		return "", invalid("unknown capability %q", n)
	}
	return name, nil
}

func intersect(a, b []string) []string {
	var out []string
	for _, v := range a {
		if slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}
