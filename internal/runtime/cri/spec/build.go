package spec

import (
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ErrInvalid marks errors that are the request's own fault.
var ErrInvalid = errors.New("invalid container config")

// invalidError is one that ErrInvalid is true of. Its text does not say so: users
// read it.
type invalidError struct{ error }

func (invalidError) Is(target error) bool { return target == ErrInvalid }
func (e invalidError) Unwrap() error      { return e.error }

func invalid(format string, args ...any) error { return invalidError{fmt.Errorf(format, args...)} }

// Input is all that decides how a container runs.
type Input struct {
	Config  *runtimeapi.ContainerConfig
	Pod     *runtimeapi.PodSandboxConfig
	Sandbox Sandbox
	Host    Host
	Image   ocispec.ImageConfig

	Rootfs     string // mounted root file system
	CgroupPath string // below each controller's root
	// TargetPID is the init process of the container whose PID namespace is
	// joined, with namespace mode TARGET.
	TargetPID int
	// Passwd and Group are the files of the image, empty if it has none.
	Passwd, Group []byte
	// Mounts are Config.Mounts in the same order with their sources resolved:
	// symbolic links followed, images mounted.
	Mounts []string
	// Volumes are folders that the image declares as volumes, by their place in
	// the container: where they are in the mounted root file system.
	Volumes map[string]string
	// Devices are what each of Config.Devices stands for on the host.
	Devices [][]specs.LinuxDevice
	// Seccomp is the profile read for a Localhost profile.
	Seccomp *specs.LinuxSeccomp
}

// Sandbox is what a container joins.
type Sandbox struct {
	NetNS, IPCNS, UTSNS, PIDNS, UserNS string // paths; "" = the host's
	UIDMappings, GIDMappings           []specs.LinuxIDMapping
	Shm                                string // folder of the pod's /dev/shm; "" = the host's
	ResolvConf, Hostname, Hosts        string // files mounted below /etc; "" = none
}

// Host is what this machine can do.
type Host struct {
	CgroupV2     bool
	Seccomp      bool
	AppArmor     bool
	SELinux      bool
	MemorySwap   bool // the memory controller accounts for swap
	HugeTLB      bool
	Hostname     string
	Capabilities []string // that this process may give away, as CAP_…
	// Devices of the host, for privileged containers.
	Devices []specs.LinuxDevice
	// MinOOMScoreAdj is the lowest score that may be set without CAP_SYS_RESOURCE.
	MinOOMScoreAdj int
}

func (in *Input) security() *runtimeapi.LinuxContainerSecurityContext {
	return in.Config.GetLinux().GetSecurityContext()
}

func (in *Input) privileged() bool { return in.security().GetPrivileged() }

// Build makes the OCI spec of a container. Errors that the caller of the CRI has
// to mend wrap ErrInvalid.
func Build(in Input) (*specs.Spec, error) {
	s := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: in.Rootfs, Readonly: in.security().GetReadonlyRootfs()},
		Process: &specs.Process{},
		Linux:   &specs.Linux{CgroupsPath: in.CgroupPath},
	}
	// In order: seccomp's default profile depends on the capabilities.
	for _, step := range []func(*Input, *specs.Spec) error{
		setProcess, setUser, setCapabilities, setNamespaces, setMounts, setDevices, setResources, setSecurity,
	} {
		if err := step(&in, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}
