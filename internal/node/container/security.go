package container

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Paths that a container does not see, or can't write to, unless procMount lifts
// that. The lists are the container runtimes' common ones.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// ImageUser is whom an image's processes run as when nobody says otherwise: a
// number or a name.
type ImageUser struct {
	UID  *int64
	Name string
}

// effective is the container's security context with the pod's filled in.
func effective(pod *v1.Pod, c *v1.Container) *v1.SecurityContext {
	out := &v1.SecurityContext{}
	if c.SecurityContext != nil {
		out = c.SecurityContext.DeepCopy()
	}
	p := pod.Spec.SecurityContext
	if p == nil {
		return out
	}
	if out.RunAsUser == nil {
		out.RunAsUser = p.RunAsUser
	}
	if out.RunAsGroup == nil {
		out.RunAsGroup = p.RunAsGroup
	}
	if out.RunAsNonRoot == nil {
		out.RunAsNonRoot = p.RunAsNonRoot
	}
	if out.SeccompProfile == nil {
		out.SeccompProfile = p.SeccompProfile
	}
	if out.AppArmorProfile == nil {
		out.AppArmorProfile = p.AppArmorProfile
	}
	if out.SELinuxOptions == nil {
		out.SELinuxOptions = p.SELinuxOptions
	}
	return out
}

// checkNonRoot holds runAsNonRoot to what the image says.
func checkNonRoot(pod *v1.Pod, c *v1.Container, sc *v1.SecurityContext, image ImageUser) error {
	if !isTrue(sc.RunAsNonRoot) {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", c.Name)
	switch {
	case sc.RunAsUser != nil && *sc.RunAsUser == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
	case sc.RunAsUser != nil:
		return nil
	case image.UID != nil && *image.UID == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case image.UID == nil && image.Name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Name, where)
	}
	return nil
}

func securityContext(pod *v1.Pod, c *v1.Container, node Node, in Input) (*runtimeapi.LinuxContainerSecurityContext, error) {
	sc := effective(pod, c)
	if err := checkNonRoot(pod, c, sc, in.ImageUser); err != nil {
		return nil, err
	}
	seccomp, err := seccompProfile(sc, node)
	if err != nil {
		return nil, err
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		Privileged:               isTrue(sc.Privileged),
		NamespaceOptions:         namespaces(pod, in.Userns),
		Capabilities:             capabilities(sc),
		SelinuxOptions:           selinux(sc.SELinuxOptions),
		ReadonlyRootfs:           isTrue(sc.ReadOnlyRootFilesystem),
		SupplementalGroups:       groups(pod),
		SupplementalGroupsPolicy: groupsPolicy(pod),
		NoNewPrivs:               sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		Seccomp:                  seccomp,
		Apparmor:                 appArmorProfile(sc),
	}
	if sc.ProcMount == nil || *sc.ProcMount != v1.UnmaskedProcMount {
		out.MaskedPaths, out.ReadonlyPaths = slices.Concat(maskedPaths, node.Thermal), readonlyPaths
	}
	if in.TargetID != "" { // an ephemeral container in its target's PID namespace
		out.NamespaceOptions.Pid, out.NamespaceOptions.TargetId = runtimeapi.NamespaceMode_TARGET, in.TargetID
	}
	setUser(out, sc, in.ImageUser)
	return out, nil
}

func setUser(out *runtimeapi.LinuxContainerSecurityContext, sc *v1.SecurityContext, image ImageUser) {
	switch {
	case sc.RunAsUser != nil:
		out.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
	case image.UID != nil:
		out.RunAsUser = &runtimeapi.Int64Value{Value: *image.UID}
	default:
		out.RunAsUsername = image.Name
	}
	if sc.RunAsGroup != nil {
		out.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
		if out.RunAsUser == nil && out.RunAsUsername == "" { // CRI: no group without a user
			out.RunAsUser = &runtimeapi.Int64Value{}
		}
	}
}

func namespaces(pod *v1.Pod, userns *runtimeapi.UserNamespace) *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{
		Network: runtimeapi.NamespaceMode_POD, Ipc: runtimeapi.NamespaceMode_POD, Pid: runtimeapi.NamespaceMode_CONTAINER,
		UsernsOptions: userns,
	}
	if pod.Spec.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case pod.Spec.HostPID:
		o.Pid = runtimeapi.NamespaceMode_NODE
	case isTrue(pod.Spec.ShareProcessNamespace):
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	return o
}

func capabilities(sc *v1.SecurityContext) *runtimeapi.Capability {
	if sc.Capabilities == nil {
		return nil
	}
	names := func(list []v1.Capability) []string {
		out := make([]string, len(list))
		for i, c := range list {
			out[i] = strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
		}
		return out
	}
	return &runtimeapi.Capability{AddCapabilities: names(sc.Capabilities.Add), DropCapabilities: names(sc.Capabilities.Drop)}
}

// groups besides the main one: the pod's own and that of its volumes.
func groups(pod *v1.Pod) []int64 {
	p := pod.Spec.SecurityContext
	if p == nil {
		return nil
	}
	var out []int64
	if p.FSGroup != nil {
		out = append(out, *p.FSGroup)
	}
	return append(out, p.SupplementalGroups...)
}

func groupsPolicy(pod *v1.Pod) runtimeapi.SupplementalGroupsPolicy {
	if p := pod.Spec.SecurityContext; p != nil && p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return runtimeapi.SupplementalGroupsPolicy_Merge
}

// seccompProfile: what is not said is the runtime's default, not "anything goes".
func seccompProfile(sc *v1.SecurityContext, node Node) (*runtimeapi.SecurityProfile, error) {
	p := sc.SeccompProfile
	switch {
	case isTrue(sc.Privileged) && p == nil, p != nil && p.Type == v1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	case p != nil && p.Type == v1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost")
		}
		return &runtimeapi.SecurityProfile{
			ProfileType:  runtimeapi.SecurityProfile_Localhost,
			LocalhostRef: filepath.Join(node.SeccompDir, *p.LocalhostProfile),
		}, nil
	}
	if p == nil && node.Limits.NoSeccompDefault {
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
}

func appArmorProfile(sc *v1.SecurityContext) *runtimeapi.SecurityProfile {
	p := sc.AppArmorProfile
	if p == nil {
		return nil
	}
	switch p.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	case v1.AppArmorProfileTypeLocalhost:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
}

func selinux(o *v1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func sysctls(pod *v1.Pod) map[string]string {
	p := pod.Spec.SecurityContext
	if p == nil || len(p.Sysctls) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, s := range p.Sysctls {
		out[strings.ReplaceAll(s.Name, "/", ".")] = s.Value
	}
	return out
}

func clone(m map[string]string) map[string]string {
	if out := maps.Clone(m); out != nil {
		return out
	}
	return map[string]string{}
}
