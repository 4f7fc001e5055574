package spec

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// setNamespaces joins those of the sandbox; the mount namespace, and by the
// container's choice the PID namespace, are its own.
func setNamespaces(in *Input, s *specs.Spec) error {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	join := func(kind specs.LinuxNamespaceType, path string) {
		if path != "" {
			ns = append(ns, specs.LinuxNamespace{Type: kind, Path: path})
		}
	}
	join(specs.NetworkNamespace, in.Sandbox.NetNS)
	join(specs.IPCNamespace, in.Sandbox.IPCNS)
	join(specs.UTSNamespace, in.Sandbox.UTSNS)
	// The mappings of a joined user namespace are the namespace's to tell: a spec
	// may give the path or the mappings, not both.
	join(specs.UserNamespace, in.Sandbox.UserNS)
	pid, err := pidNamespace(in)
	if err != nil {
		return err
	}
	if pid != nil {
		ns = append(ns, *pid)
	}
	// With cgroup v1 the mounts below /sys/fs/cgroup are already limited to the
	// container's own groups; a privileged container sees the host's.
	if in.Host.CgroupV2 && !in.privileged() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	s.Linux.Namespaces = ns
	return nil
}

func pidNamespace(in *Input) (*specs.LinuxNamespace, error) {
	opts := in.security().GetNamespaceOptions()
	switch mode := opts.GetPid(); mode {
	case runtimeapi.NamespaceMode_CONTAINER:
		return &specs.LinuxNamespace{Type: specs.PIDNamespace}, nil
	case runtimeapi.NamespaceMode_NODE:
		return nil, nil
	case runtimeapi.NamespaceMode_POD:
		if in.Sandbox.PIDNS == "" {
			return nil, invalid("the container asks for the pod's PID namespace, and the pod has none")
		}
		return &specs.LinuxNamespace{Type: specs.PIDNamespace, Path: in.Sandbox.PIDNS}, nil
	case runtimeapi.NamespaceMode_TARGET:
		if in.TargetPID == 0 {
			return nil, invalid("target container %q is not running", opts.GetTargetId())
		}
		return &specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", in.TargetPID)}, nil
	default:
		return nil, invalid("unknown PID namespace mode %d", mode)
	}
}
