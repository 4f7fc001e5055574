package spec

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// setMounts lays out what a container expects of the kernel and of its pod, then
// its own mounts, which replace any of those at the same place. Parents come
// before what lies below them.
func setMounts(in *Input, s *specs.Spec) error {
	own, err := ownMounts(in, s)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, m := range own {
		taken[m.Destination] = true
	}
	free := func(ms []specs.Mount) []specs.Mount {
		return slices.DeleteFunc(ms, func(m specs.Mount) bool { return taken[m.Destination] })
	}
	s.Mounts = append(append(append(free(kernelMounts(in)), free(podMounts(in))...), free(volumeMounts(in))...), own...)
	sort.SliceStable(s.Mounts, func(i, j int) bool {
		return depth(s.Mounts[i].Destination) < depth(s.Mounts[j].Destination)
	})
	return nil
}

func depth(path string) int { return strings.Count(filepath.Clean(path), "/") }

func kernelMounts(in *Input) []specs.Mount {
	write := "ro"
	if in.privileged() {
		write = "rw"
	}
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	if mapped(in.Sandbox.GIDMappings, ttyGroup) {
		pts = append(pts, fmt.Sprintf("gid=%d", ttyGroup))
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", write}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", write}},
	}
	// The kernel lets sysfs be mounted only by the owner of the network namespace,
	// and mqueue only by the owner of the IPC namespace.
	if in.Sandbox.UserNS != "" && in.Sandbox.NetNS == "" {
		mounts[4] = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev", "ro"}}
	}
	if in.Sandbox.UserNS != "" && in.Sandbox.IPCNS == "" {
		mounts[3] = specs.Mount{Destination: "/dev/mqueue", Type: "bind", Source: "/dev/mqueue", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
	}
	return mounts
}

// ttyGroup owns terminals on nearly every distribution; ptys of a container get
// it, so that a user can write to its own.
const ttyGroup = 5

func mapped(mappings []specs.LinuxIDMapping, id uint32) bool {
	if len(mappings) == 0 {
		return true
	}
	return slices.ContainsFunc(mappings, func(m specs.LinuxIDMapping) bool {
		return id >= m.ContainerID && id-m.ContainerID < m.Size
	})
}

func podMounts(in *Input) []specs.Mount {
	shm := in.Sandbox.Shm
	if shm == "" {
		shm = "/dev/shm"
	}
	mounts := []specs.Mount{{Destination: "/dev/shm", Type: "bind", Source: shm, Options: []string{"rbind", "nosuid", "noexec", "nodev"}}}
	write := "rw"
	if in.Config.GetLinux().GetSecurityContext().GetReadonlyRootfs() {
		write = "ro"
	}
	for _, f := range []struct{ at, source string }{
		{"/etc/hostname", in.Sandbox.Hostname}, {"/etc/hosts", in.Sandbox.Hosts}, {"/etc/resolv.conf", in.Sandbox.ResolvConf},
	} {
		if f.source != "" {
			mounts = append(mounts, specs.Mount{
				Destination: f.at, Type: "bind", Source: f.source, Options: []string{"rbind", "rprivate", write},
				UIDMappings: in.Sandbox.UIDMappings, GIDMappings: in.Sandbox.GIDMappings,
			})
		}
	}
	return mounts
}

// volumeMounts keep the image's volumes writable under a read-only root: each is
// bound onto itself, so it stays in the container's own layer.
func volumeMounts(in *Input) []specs.Mount {
	if !in.security().GetReadonlyRootfs() {
		return nil
	}
	var out []specs.Mount
	for _, at := range slices.Sorted(maps.Keys(in.Volumes)) {
		out = append(out, specs.Mount{Destination: filepath.Clean(at), Type: "bind", Source: in.Volumes[at], Options: []string{"rbind", "rprivate", "rw"}})
	}
	return out
}

// ownMounts are those of the container's config. As a side effect the root is
// made to take part in propagation where a mount asks for it.
func ownMounts(in *Input, s *specs.Spec) ([]specs.Mount, error) {
	var out []specs.Mount
	for i, m := range in.Config.Mounts {
		source := m.HostPath
		if i < len(in.Mounts) {
			source = in.Mounts[i]
		}
		if !strings.HasPrefix(m.ContainerPath, "/") {
			// Relative paths are meant from the root, as other runtimes take them.
			m = &runtimeapi.Mount{ContainerPath: "/" + m.ContainerPath, HostPath: m.HostPath, Readonly: m.Readonly,
				Propagation: m.Propagation, UidMappings: m.UidMappings, GidMappings: m.GidMappings,
				RecursiveReadOnly: m.RecursiveReadOnly, Image: m.Image, MountOptions: m.MountOptions}
		}
		options, err := mountOptions(m)
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.ContainerPath, err)
		}
		switch {
		case m.Propagation == runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:
			s.Linux.RootfsPropagation = "rshared"
		case m.Propagation == runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER && s.Linux.RootfsPropagation == "":
			s.Linux.RootfsPropagation = "rslave"
		}
		mount := specs.Mount{Destination: filepath.Clean(m.ContainerPath), Type: "bind", Source: source, Options: options}
		if m.Image == nil { // an image is mapped where it was mounted
			mount.UIDMappings, mount.GIDMappings = idMappings(m.UidMappings), idMappings(m.GidMappings)
		}
		out = append(out, mount)
	}
	return out, nil
}

func mountOptions(m *runtimeapi.Mount) ([]string, error) {
	options := []string{"rbind"}
	switch m.Propagation {
	case runtimeapi.MountPropagation_PROPAGATION_PRIVATE:
		options = append(options, "rprivate")
	case runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		options = append(options, "rslave")
	case runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		options = append(options, "rshared")
	default:
		return nil, invalid("unknown propagation %d", m.Propagation)
	}
	switch {
	case m.RecursiveReadOnly && !m.Readonly:
		return nil, invalid("recursive read-only asks for a read-only mount")
	case m.RecursiveReadOnly && m.Propagation != runtimeapi.MountPropagation_PROPAGATION_PRIVATE:
		return nil, invalid("recursive read-only asks for private propagation")
	case m.RecursiveReadOnly:
		options = append(options, "rro")
	case m.Readonly:
		options = append(options, "ro")
	default:
		options = append(options, "rw")
	}
	return append(options, m.MountOptions...), nil
}

func idMappings(in []*runtimeapi.IDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range in {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerId, HostID: m.HostId, Size: m.Length})
	}
	return out
}

// IDMappings turns the CRI's mappings into the OCI's.
func IDMappings(in []*runtimeapi.IDMapping) []specs.LinuxIDMapping { return idMappings(in) }
