package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// CreateContainer prepares a container's root file system and process. Nothing
// of it is left when it fails.
func (s *Service) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	if req.GetConfig().GetMetadata().GetName() == "" {
		return nil, fail(codes.InvalidArgument, "container config must include metadata with a name")
	}
	id := newID()
	sb, err := s.enter(req, id)
	if err != nil {
		return nil, err
	}
	defer sb.creating.Done()
	m := &making{s: s, id: id, sandbox: sb, config: proto.CloneOf(req.Config)}
	c, err := m.make(ctx)
	if err != nil {
		m.undo(ctx)
		s.release(containerName(sb.id, req.Config.Metadata))
		return nil, wrap(err, "create container %s", req.Config.Metadata.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[id], sb.containers[id] = c, c
	s.emit(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, id, sb)
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, nil
}

// enter finds the sandbox, reserves the name and keeps the sandbox from being
// removed until creating is done.
func (s *Service) enter(req *runtimeapi.CreateContainerRequest, id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := find(s.sandboxes, req.PodSandboxId)
	switch {
	case sb == nil:
		return nil, noSandbox(req.PodSandboxId)
	case sb.closing || !sb.ready():
		return nil, fail(codes.FailedPrecondition, "create container %s: pod sandbox %s is not ready", req.Config.Metadata.Name, sb.id)
	}
	if err := s.reserve(containerName(sb.id, req.Config.Metadata), id); err != nil {
		return nil, fail(codes.AlreadyExists, "create container: %w", err)
	}
	sb.creating.Add(1)
	return sb, nil
}

// making is one container on its way from request to keeper.
type making struct {
	s       *Service
	id      string
	sandbox *sandbox
	config  *runtimeapi.ContainerConfig
	volumes []string
}

func (m *making) make(ctx context.Context) (*container, error) {
	s := m.s
	img, err := s.cfg.Images.Resolve(ctx, m.config.GetImage().GetImage())
	if err != nil {
		return nil, err
	}
	rootfs, err := s.mountRootfs(ctx, m.id, img.ID, m.snapshotOptions())
	if err != nil {
		return nil, err
	}
	in, err := m.input(ctx, img, rootfs)
	if err != nil {
		return nil, err
	}
	oci, err := spec.Build(in)
	if err != nil {
		return nil, err
	}
	record := containerRecord{
		ID: m.id, SandboxID: m.sandbox.id, Config: m.config, ImageID: img.ID, ImageRef: img.Ref,
		StopSignal: img.Config.Config.StopSignal, LogPath: m.logPath(), Cgroup: in.CgroupPath,
		Created: time.Now(), Process: oci.Process, Volumes: m.volumes,
	}
	if err := m.makeLogDir(record.LogPath); err != nil {
		return nil, err
	}
	if err := s.store.saveContainer(&record); err != nil {
		return nil, err
	}
	st, err := s.cfg.Keeper.Create(ctx, keeper.Container{
		ID: m.id, SandboxID: m.sandbox.id, Spec: oci, LogPath: record.LogPath,
		Stdin: m.config.Stdin, StdinOnce: m.config.StdinOnce, TTY: m.config.Tty,
	})
	if err != nil {
		return nil, err
	}
	return newContainer(m.sandbox, record, st), nil
}

// undo takes back whatever make did. What can't be undone is found by its
// missing record at the next start.
func (m *making) undo(ctx context.Context) {
	undo, cancel := undoContext(ctx)
	defer cancel()
	err := m.s.cfg.Keeper.Remove(undo, m.id)
	if err == nil {
		err = m.s.dropRootfs(undo, m.id, m.volumes)
	}
	if err == nil {
		err = m.s.store.removeContainer(m.id)
	}
	if err != nil {
		m.s.cfg.Log.Error("undo a failed container", "container", m.id, "err", err)
	}
}

func (m *making) snapshotOptions() SnapshotOptions {
	u := namespaceOptions(m.sandbox.config()).GetUsernsOptions()
	if u == nil || u.Mode != runtimeapi.NamespaceMode_POD {
		return SnapshotOptions{}
	}
	return SnapshotOptions{UIDMappings: u.Uids, GIDMappings: u.Gids}
}

func (m *making) logPath() string {
	dir := m.sandbox.config().LogDirectory
	if dir == "" || m.config.LogPath == "" {
		return ""
	}
	return filepath.Join(dir, m.config.LogPath)
}

func (m *making) makeLogDir(path string) error {
	if path == "" {
		return nil
	}
	return os.MkdirAll(filepath.Dir(path), 0o755)
}

// input gathers what the pure builder must know.
func (m *making) input(ctx context.Context, img Image, rootfs string) (spec.Input, error) {
	s, sb := m.s, m.sandbox
	s.mu.Lock()
	st := sb.status
	s.mu.Unlock()
	u := namespaceOptions(sb.config()).GetUsernsOptions()
	etc := s.store.etc(sb.id)
	in := spec.Input{
		Config: m.config, Pod: sb.config(), Host: s.host, Image: img.Config.Config,
		Rootfs: rootfs, CgroupPath: filepath.Join(s.cgroupParent(sb.config()), m.id),
		Sandbox: spec.Sandbox{
			NetNS: st.NetNS, IPCNS: st.IPCNS, UTSNS: st.UTSNS, PIDNS: st.PIDNS, UserNS: st.UserNS, Shm: st.Shm,
			UIDMappings: spec.IDMappings(u.GetUids()), GIDMappings: spec.IDMappings(u.GetGids()),
			ResolvConf: filepath.Join(etc, "resolv.conf"), Hostname: filepath.Join(etc, "hostname"), Hosts: filepath.Join(etc, "hosts"),
		},
	}
	steps := []func(context.Context, *spec.Input) error{m.users, m.mounts, m.imageVolumes, m.devices, m.seccomp, m.target}
	for _, step := range steps {
		if err := step(ctx, &in); err != nil {
			return in, err
		}
	}
	return in, nil
}

func (m *making) users(_ context.Context, in *spec.Input) (err error) {
	if in.Passwd, err = readInside(in.Rootfs, "/etc/passwd"); err != nil {
		return err
	}
	in.Group, err = readInside(in.Rootfs, "/etc/group")
	return err
}

func (m *making) mounts(ctx context.Context, in *spec.Input) error {
	for i, mount := range m.config.Mounts {
		source, err := m.source(ctx, i, mount)
		if err != nil {
			return err
		}
		in.Mounts = append(in.Mounts, source)
	}
	return nil
}

// source is what a mount really binds: an image's files or the end of the host
// path's links.
func (m *making) source(ctx context.Context, n int, mount *runtimeapi.Mount) (string, error) {
	if mount.Image.GetImage() != "" {
		if mount.HostPath != "" {
			return "", fail(codes.InvalidArgument, "mount %s: a host path and an image exclude each other", mount.ContainerPath)
		}
		if !mount.Readonly {
			return "", fail(codes.InvalidArgument, "mount %s: an image volume is read-only", mount.ContainerPath)
		}
		key, dir, err := m.s.mountVolume(ctx, m.id, n, mount, m.snapshotOptions())
		if key != "" {
			m.volumes = append(m.volumes, key)
		}
		return dir, err
	}
	source, err := filepath.EvalSymlinks(mount.HostPath)
	if err != nil {
		return "", fail(codes.InvalidArgument, "mount %s: host path %q: %w", mount.ContainerPath, mount.HostPath, err)
	}
	if mount.Propagation == runtimeapi.MountPropagation_PROPAGATION_PRIVATE {
		return source, nil
	}
	table, err := readMounts()
	if err != nil {
		return "", err
	}
	slave := mount.Propagation == runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	if point, ok := table.propagates(source, slave); !ok {
		return "", fail(codes.InvalidArgument, "mount %s: path %q is mounted on %q but it is not a shared mount", mount.ContainerPath, mount.HostPath, point)
	}
	return source, nil
}

// imageVolumes makes the folders that the image declares as volumes, where a
// read-only root would keep the container from writing to them.
func (m *making) imageVolumes(_ context.Context, in *spec.Input) error {
	if !in.Config.GetLinux().GetSecurityContext().GetReadonlyRootfs() {
		return nil
	}
	in.Volumes = map[string]string{}
	for at := range in.Image.Volumes {
		dir, err := securejoin.SecureJoin(in.Rootfs, at)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("volume %s of the image: %w", at, err)
		}
		in.Volumes[at] = dir
	}
	return nil
}

func (m *making) devices(_ context.Context, in *spec.Input) (err error) {
	if m.config.GetLinux().GetSecurityContext().GetPrivileged() {
		if in.Host.Devices, err = hostDevices(); err != nil {
			return fmt.Errorf("list host devices: %w", err)
		}
	}
	for _, d := range m.config.Devices {
		found, err := devicesAt(d.HostPath)
		if err != nil {
			return fail(codes.InvalidArgument, "device %s: %w", d.HostPath, err)
		}
		in.Devices = append(in.Devices, found)
	}
	return nil
}

func (m *making) seccomp(_ context.Context, in *spec.Input) error {
	p := spec.SeccompProfile(m.config)
	if p.ProfileType != runtimeapi.SecurityProfile_Localhost {
		return nil
	}
	data, err := os.ReadFile(p.LocalhostRef)
	if err != nil {
		return fail(codes.InvalidArgument, "cannot load seccomp profile %q: %w", p.LocalhostRef, err)
	}
	in.Seccomp = &specs.LinuxSeccomp{}
	if err := json.Unmarshal(data, in.Seccomp); err != nil {
		return fail(codes.InvalidArgument, "decoding seccomp profile %q failed: %w", p.LocalhostRef, err)
	}
	return nil
}

// target finds the process whose PID namespace is joined. It must be of the same
// pod: a container may not look into another's.
func (m *making) target(_ context.Context, in *spec.Input) error {
	ns := m.config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	if ns.GetPid() != runtimeapi.NamespaceMode_TARGET {
		return nil
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	c := m.sandbox.containers[ns.TargetId]
	if c == nil {
		return fail(codes.InvalidArgument, "target container %q is not in this pod", ns.TargetId)
	}
	in.TargetPID = c.status.PID
	return nil
}
