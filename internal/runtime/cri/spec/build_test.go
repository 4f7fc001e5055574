package spec

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

const passwd = `root:x:0:0:root:/root:/bin/sh
tester:x:1000:1001::/home/tester:/bin/sh
`

const group = `root:x:0:root
users:x:1001:
extra:x:1002:tester,root
`

// plain is what most pods ask for.
func plain() Input {
	return Input{
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "app"},
			Linux: &runtimeapi.LinuxContainerConfig{
				Resources: &runtimeapi.LinuxContainerResources{CpuShares: 2, OomScoreAdj: 1000},
				SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
					NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
					MaskedPaths:      []string{"/proc/kcore"},
					ReadonlyPaths:    []string{"/proc/sys"},
				},
			},
		},
		Pod: &runtimeapi.PodSandboxConfig{Hostname: "web-0"},
		Sandbox: Sandbox{
			NetNS: "/run/netns/1", IPCNS: "/run/ipcns/1", UTSNS: "/run/utsns/1", Shm: "/run/shm/1",
			ResolvConf: "/run/etc/resolv.conf", Hostname: "/run/etc/hostname", Hosts: "/run/etc/hosts",
		},
		Host: Host{
			Seccomp: true, Hostname: "node-1", MemorySwap: true, HugeTLB: true, MinOOMScoreAdj: -1000,
			Capabilities: append(append([]string{}, defaultCapabilities...), "CAP_NET_ADMIN", "CAP_SYS_ADMIN"),
		},
		Image: ocispec.ImageConfig{
			Entrypoint: []string{"/entry"}, Cmd: []string{"default"}, WorkingDir: "/srv",
			Env: []string{"PATH=/bin", "FROM=image"}, User: "tester",
		},
		Rootfs: "/run/containers/1/rootfs", CgroupPath: "/kubepods/pod1/1",
		Passwd: []byte(passwd), Group: []byte(group),
	}
}

func TestBuild(t *testing.T) {
	for name, change := range map[string]func(*Input){
		"plain": func(*Input) {},
		"command": func(in *Input) {
			in.Config.Command, in.Config.WorkingDir, in.Config.Tty = []string{"sh", "-c"}, "/tmp", true
			in.Config.Args = []string{"true"}
			in.Config.Envs = []*runtimeapi.KeyValue{{Key: "FROM", Value: []byte("pod")}, {Key: "EMPTY"}}
		},
		"args": func(in *Input) { in.Config.Args = []string{"mine"} },
		"no-security-context": func(in *Input) {
			in.Config.Linux.SecurityContext = nil
			in.Sandbox.PIDNS = "/run/pidns/1"
		},
		"privileged": func(in *Input) {
			in.Config.Linux.SecurityContext.Privileged = true
			in.Host.Devices = []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}}
		},
		"host-everything": func(in *Input) {
			in.Sandbox = Sandbox{ResolvConf: "/run/etc/resolv.conf"}
			in.Pod.Hostname = ""
			in.Config.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{
				Pid: runtimeapi.NamespaceMode_NODE, Network: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE,
			}
		},
		"target-pid": func(in *Input) {
			in.TargetPID = 4711
			in.Config.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "other"}
		},
		"user-namespace": func(in *Input) {
			in.Sandbox.UserNS = "/run/userns/1"
			in.Sandbox.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 65536, Size: 65536}}
			in.Sandbox.GIDMappings = in.Sandbox.UIDMappings
		},
		"cgroup-v2": func(in *Input) {
			in.Host.CgroupV2 = true
			in.Config.Linux.Resources = &runtimeapi.LinuxContainerResources{
				CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, MemoryLimitInBytes: 1 << 26, MemorySwapLimitInBytes: 1 << 26,
				CpusetCpus: "0-1", HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}},
				Unified: map[string]string{"memory.min": "1000"},
			}
		},
		"clamped": func(in *Input) { // a host that can do little
			in.Host = Host{Hostname: "small", MinOOMScoreAdj: 0, Capabilities: []string{"CAP_CHOWN"}}
			in.Config.Linux.Resources = &runtimeapi.LinuxContainerResources{
				OomScoreAdj: -997, MemoryLimitInBytes: 1 << 26, MemorySwapLimitInBytes: 1 << 26,
				HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB"}}, Unified: map[string]string{"a": "b"},
			}
		},
		"mounts": func(in *Input) {
			in.Config.Mounts = []*runtimeapi.Mount{
				{HostPath: "/host/deep", ContainerPath: "/data/deep/er", Readonly: true},
				{HostPath: "/host/data", ContainerPath: "/data", Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
				{HostPath: "/host/hosts", ContainerPath: "/etc/hosts"},
				{HostPath: "/host/shm", ContainerPath: "/dev/shm/"},
				{HostPath: "/host/rro", ContainerPath: "/rro", Readonly: true, RecursiveReadOnly: true, MountOptions: []string{"noexec"}},
				{ContainerPath: "/image", Image: &runtimeapi.ImageSpec{Image: "sha256:1"}, Readonly: true},
			}
			in.Mounts = []string{"/resolved/deep", "/resolved/data", "/host/hosts", "/host/shm", "/host/rro", "/run/volume-5"}
		},
		"bidirectional": func(in *Input) {
			in.Config.Mounts = []*runtimeapi.Mount{
				{HostPath: "/a", ContainerPath: "/a", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
				{HostPath: "/b", ContainerPath: "/b", Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
			}
		},
		"devices": func(in *Input) {
			in.Config.Devices = []*runtimeapi.Device{
				{HostPath: "/dev/snd", ContainerPath: "/dev/sound", Permissions: "rw"}, {HostPath: "/dev/fuse", ContainerPath: "/dev/fuse", Permissions: "rwm"},
			}
			in.Devices = [][]specs.LinuxDevice{
				{{Path: "/dev/snd/timer", Type: "c", Major: 116, Minor: 33}, {Path: "/dev/snd/seq", Type: "c", Major: 116, Minor: 1}},
				{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}},
			}
		},
		"capabilities": func(in *Input) {
			in.Config.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{
				AddCapabilities: []string{"net_admin"}, DropCapabilities: []string{"ALL"}, AddAmbientCapabilities: []string{"NET_BIND_SERVICE"},
			}
			in.Config.Linux.SecurityContext.NoNewPrivs = true
			in.Config.Linux.SecurityContext.ReadonlyRootfs = true
		},
		"image-volumes": func(in *Input) {
			in.Config.Linux.SecurityContext.ReadonlyRootfs = true
			in.Volumes = map[string]string{"/var/lib/db/": "/run/containers/1/rootfs/var/lib/db", "/data": "/run/containers/1/rootfs/data"}
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/data", HostPath: "/mine"}}
		},
		"seccomp-default": func(in *Input) { in.Config.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{} },
		"seccomp-localhost": func(in *Input) {
			in.Config.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "/p.json"}
			in.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActLog}
		},
		"labels": func(in *Input) {
			in.Host.AppArmor, in.Host.SELinux = true, true
			in.Config.Linux.SecurityContext.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "my-profile"}
			in.Config.Linux.SecurityContext.SelinuxOptions = &runtimeapi.SELinuxOption{Type: "spc_t", Level: "s0:c1,c2"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			change(&in)
			s, err := Build(in)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, s)
		})
	}
}

func golden(t *testing.T, name string, s *specs.Spec) {
	t.Helper()
	if s.Linux.Seccomp != nil { // hundreds of system calls, not ours to fix
		s.Linux.Seccomp.Syscalls = s.Linux.Seccomp.Syscalls[:min(1, len(s.Linux.Seccomp.Syscalls))]
		for i := range s.Linux.Seccomp.Syscalls {
			s.Linux.Seccomp.Syscalls[i].Names = s.Linux.Seccomp.Syscalls[i].Names[:3]
		}
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", path, diff)
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		want   string
	}{
		"nothing to run":     {func(in *Input) { in.Image = ocispec.ImageConfig{} }, "no command specified"},
		"group without user": {func(in *Input) { in.Config.Linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{Value: 1} }, "runAsGroup is specified without runAsUser"},
		"unknown user":       {func(in *Input) { in.Config.Linux.SecurityContext.RunAsUsername = "nobody-here" }, "nobody-here"},
		"unknown image user": {func(in *Input) { in.Image.User = "ghost" }, "ghost"},
		"no passwd at all":   {func(in *Input) { in.Passwd = nil }, "tester"},
		"huge user":          {func(in *Input) { in.Config.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1 << 32} }, "must be in range"},
		"unknown capability": {func(in *Input) {
			in.Config.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"FLY"}}
		}, `unknown capability "FLY"`},
		"capability of no host": {func(in *Input) {
			in.Config.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_BOOT"}}
		}, "CAP_SYS_BOOT can't be added"},
		"pod's PID namespace": {func(in *Input) { in.Config.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD }, "the pod has none"},
		"target gone": {func(in *Input) {
			in.Config.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_TARGET
		}, "is not running"},
		"CDI": {func(in *Input) { in.Config.CDIDevices = []*runtimeapi.CDIDevice{{Name: "v.com/gpu=0"}} }, `CDI device "v.com/gpu=0"`},
		"recursive without readonly": {func(in *Input) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/x", RecursiveReadOnly: true}}
		}, "read-only mount"},
		"seccomp on a kernel without": {func(in *Input) {
			in.Host.Seccomp = false
			in.Config.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{}
		}, "not supported by this kernel"},
		"AppArmor on a host without": {func(in *Input) {
			in.Config.Linux.SecurityContext.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "p"}
		}, "AppArmor is not enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			c.change(&in)
			_, err := Build(in)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	number := func(n int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: n} }
	type sc = runtimeapi.LinuxContainerSecurityContext
	for name, c := range map[string]struct {
		image  string
		sc     func(*sc)
		want   specs.User
		noFile bool
	}{
		"image's name":            {image: "tester", want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}},
		"image's number":          {image: "1000", want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}},
		"image's group by name":   {image: "tester:users", want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}},
		"image's group by number": {image: "1000:77", want: specs.User{UID: 1000, GID: 77, AdditionalGids: []uint32{77, 1002}}},
		"nobody said anything":    {want: specs.User{UID: 0, GID: 0, AdditionalGids: []uint32{0, 1002}}},
		"a stranger":              {image: "4000", want: specs.User{UID: 4000, GID: 0, AdditionalGids: []uint32{0}}},
		"no files":                {noFile: true, image: "12:34", want: specs.User{UID: 12, GID: 34, AdditionalGids: []uint32{34}}},
		"number over the image's": {image: "tester:77", sc: func(s *sc) { s.RunAsUser = number(0) }, want: specs.User{AdditionalGids: []uint32{0, 1002}}},
		"group over the image's": {image: "tester:77", sc: func(s *sc) { s.RunAsUsername, s.RunAsGroup = "tester", number(5) },
			want: specs.User{UID: 1000, GID: 5, AdditionalGids: []uint32{5, 1002}}},
		"merged": {image: "tester", sc: func(s *sc) { s.SupplementalGroups = []int64{9, 1002} },
			want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{9, 1001, 1002}}},
		"strict": {image: "tester", sc: func(s *sc) {
			s.SupplementalGroups, s.SupplementalGroupsPolicy = []int64{9}, runtimeapi.SupplementalGroupsPolicy_Strict
		}, want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{9, 1001}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			in.Image.User = c.image
			if c.noFile {
				in.Passwd, in.Group = nil, nil
			}
			if c.sc != nil {
				c.sc(in.Config.Linux.SecurityContext)
			}
			s, err := Build(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.Process.User); diff != "" {
				t.Error(diff)
			}
		})
	}
}
