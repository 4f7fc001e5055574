package critests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type securityContext = runtimeapi.LinuxContainerSecurityContext

// secure changes a container's security context.
func secure(f func(sc *securityContext)) change {
	return func(c *runtimeapi.ContainerConfig) { f(c.Linux.SecurityContext) }
}

func int64Value(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }

func testProcess(t *testing.T, s *suite) {
	p := s.pod(t)
	got := p.output("env", "pwd; echo $GREETING $1; echo $HOSTNAME; echo $PATH", func(c *runtimeapi.ContainerConfig) {
		c.WorkingDir = "/usr"
		c.Args = []string{"name", "argument"}
		c.Envs = []*runtimeapi.KeyValue{{Key: "GREETING", Value: []byte("good day")}}
	})
	want := fmt.Sprintf("/usr\ngood day argument\n%s\n", p.config.Hostname)
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "/bin") {
		t.Errorf("got %q, want %q and a PATH", got, want)
	}
}

// identity prints uid, gid and all groups of the process itself.
const identity = `echo $(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p; s/^Gid:[^0-9]*\([0-9]*\).*/\1/p; s/^Groups:[[:space:]]*//p' /proc/self/status)`

func testUsers(t *testing.T, s *suite) {
	if s.ImageUser == "" {
		t.Skip("the target has no image with a user")
	}
	p := s.pod(t)
	withUser := func(c *runtimeapi.ContainerConfig) { c.Image.Image = s.ImageUser }
	for name, c := range map[string]struct {
		sc      func(*securityContext)
		want    string
		plainer bool // the image without users
	}{
		"image":  {func(*securityContext) {}, "1000 1001 1001 1002", false},
		"root":   {func(*securityContext) {}, "0 0 0", true},
		"number": {func(sc *securityContext) { sc.RunAsUser = int64Value(2000) }, "2000 0 0", false},
		"known":  {func(sc *securityContext) { sc.RunAsUser = int64Value(1000) }, "1000 1001 1001 1002", false},
		"named":  {func(sc *securityContext) { sc.RunAsUsername = "tester" }, "1000 1001 1001 1002", false},
		"group":  {func(sc *securityContext) { sc.RunAsUser, sc.RunAsGroup = int64Value(1000), int64Value(3000) }, "1000 3000 1002 3000", false},
		"merged": {func(sc *securityContext) { sc.SupplementalGroups = []int64{4000} }, "1000 1001 1001 1002 4000", false},
		"strictly": {func(sc *securityContext) {
			sc.SupplementalGroups, sc.SupplementalGroupsPolicy = []int64{4000}, runtimeapi.SupplementalGroupsPolicy_Strict
		}, "1000 1001 1001 4000", false},
	} {
		image := withUser
		if c.plainer {
			image = func(*runtimeapi.ContainerConfig) {}
		}
		if got := p.output(name, identity, image, secure(c.sc)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	config := p.containerConfig("nobody", identity)
	config.Linux.SecurityContext.RunAsUsername = "no-such-user"
	_, err := p.create(config)
	wantCode(t, err, codes.InvalidArgument, "an unknown user")
	config = p.containerConfig("group-only", identity)
	config.Linux.SecurityContext.RunAsGroup = int64Value(1)
	_, err = p.create(config)
	wantCode(t, err, codes.InvalidArgument, "a group without a user")

	id := p.run("told", idle, withUser)
	if u := p.container(id).GetUser().GetLinux(); u.GetUid() != 1000 || u.GetGid() != 1001 || len(u.SupplementalGroups) != 2 {
		t.Errorf("told: %v", u)
	}
	if got := p.sh(id, identity); got != "1000 1001 1001 1002" {
		t.Errorf("exec runs as %s", got)
	}
}

// capsOf reads a set of /proc/self/status in a container.
func (p *pod) capsOf(name, set string, changes ...change) uint64 {
	p.t.Helper()
	out := p.output(name, `sed -n 's/^`+set+`:[[:space:]]*//p' /proc/self/status`, changes...)
	n, err := strconv.ParseUint(out, 16, 64)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
	}
	return n
}

const (
	capChown    = 1 << 0
	capNetAdmin = 1 << 12
	capNetRaw   = 1 << 13
	defaultCaps = 0xa80425fb
)

func testCapabilities(t *testing.T, s *suite) {
	p := s.pod(t)
	caps := func(add, drop []string) change {
		return secure(func(sc *securityContext) {
			sc.Capabilities = &runtimeapi.Capability{AddCapabilities: add, DropCapabilities: drop}
		})
	}
	if got := p.capsOf("default", "CapEff"); got != defaultCaps {
		t.Errorf("default: %x", got)
	}
	if got := p.capsOf("added", "CapEff", caps([]string{"NET_ADMIN"}, nil)); got != defaultCaps|capNetAdmin {
		t.Errorf("added: %x", got)
	}
	if got := p.capsOf("dropped", "CapEff", caps(nil, []string{"CAP_CHOWN"})); got != defaultCaps&^capChown {
		t.Errorf("dropped: %x", got)
	}
	if got := p.capsOf("one", "CapEff", caps([]string{"NET_RAW"}, []string{"ALL"})); got != capNetRaw {
		t.Errorf("one of none: %x", got)
	}
	if got := p.capsOf("allbut", "CapEff", caps([]string{"ALL"}, []string{"CHOWN"})); got != hostCaps(t)&^capChown {
		t.Errorf("all but one: %x", got)
	}
	if got := p.capsOf("inheritable", "CapInh"); got != 0 {
		t.Errorf("inheritable: %x", got)
	}
	if got := p.capsOf("user", "CapEff", secure(func(sc *securityContext) { sc.RunAsUser = int64Value(1000) })); got != 0 {
		t.Errorf("a plain user has %x", got)
	}
	if got := p.output("nnp", `sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status`, secure(func(sc *securityContext) { sc.NoNewPrivs = true })); got != "1" {
		t.Errorf("NoNewPrivs %s", got)
	}
	config := p.containerConfig("unknown", idle)
	config.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"FLY"}}
	_, err := p.create(config)
	wantCode(t, err, codes.InvalidArgument, "an unknown capability")
}

// hostCaps is what the runtime, and so this test, has to give.
func hostCaps(t testing.TB) uint64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`CapEff:\s*([0-9a-f]+)`).FindSubmatch(data)
	n, err := strconv.ParseUint(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func privileged(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.Privileged = true }

func testPrivileged(t *testing.T, s *suite) {
	p := s.pod(t, func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	if got := p.capsOf("caps", "CapEff", privileged); got != hostCaps(t) {
		t.Errorf("capabilities %x, the host has %x", got, hostCaps(t))
	}
	id := p.run("app", idle, privileged)
	if got := p.sh(id, `sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status`); got != "0" {
		t.Errorf("seccomp mode %s", got)
	}
	if got := p.sh(id, `awk '$2=="/sys"{print $4}' /proc/mounts`); !strings.HasPrefix(got, "rw") {
		t.Errorf("/sys is mounted %s", got)
	}
	if got := p.sh(id, "mkdir /m && mount -t tmpfs none /m && echo mounted"); got != "mounted" {
		t.Errorf("mount: %s", got)
	}
	if _, err := os.Stat("/dev/kmsg"); err == nil {
		if got := p.sh(id, "test -c /dev/kmsg && echo there"); got != "there" {
			t.Errorf("host device: %s", got)
		}
	}
}

func testSeccomp(t *testing.T, s *suite) {
	p := s.pod(t)
	mode := func(name string, profile *runtimeapi.SecurityProfile) string {
		return p.output(name, `sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status`, secure(func(sc *securityContext) { sc.Seccomp = profile }))
	}
	if got := mode("default", &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}); got != "2" {
		t.Errorf("RuntimeDefault: mode %s", got)
	}
	if got := mode("unconfined", &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}); got != "0" {
		t.Errorf("Unconfined: mode %s", got)
	}
	file := filepath.Join(t.TempDir(), "profile.json")
	profile := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}`
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	local := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: file}
	got := p.output("localhost", "mkdir /forbidden 2>/dev/null || echo refused; touch /allowed && echo allowed", secure(func(sc *securityContext) { sc.Seccomp = local }))
	if got != "refused\nallowed" {
		t.Errorf("Localhost: %q", got)
	}
	config := p.containerConfig("missing", idle)
	config.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: file + ".none"}
	if _, err := p.create(config); err == nil {
		t.Error("a profile that is not there")
	}
}

func testMaskedPaths(t *testing.T, s *suite) {
	p := s.pod(t)
	masked := secure(func(sc *securityContext) {
		sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/version", "/proc/fs"}, []string{"/proc/sys"}
	})
	script := "echo [$(cat /proc/version)$(ls /proc/fs)]; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo readonly"
	if got := p.output("masked", script, masked); got != "[]\nreadonly" {
		t.Errorf("masked: %q", got)
	}
	if got := p.output("open", script); strings.Contains(got, "[]") {
		t.Errorf("nothing was to be masked: %q", got)
	}
	// A masked program is an empty device, which nothing can execute.
	id := p.run("program", idle, secure(func(sc *securityContext) { sc.MaskedPaths = []string{"/bin/uname"} }))
	_, err := s.rt.ExecSync(within(t), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/uname"}})
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("exec of a masked program: %v", err)
	}
}

func testReadonlyRootfs(t *testing.T, s *suite) {
	p := s.pod(t)
	script := "touch /file 2>/dev/null && echo written || echo refused"
	if got := p.output("ro", script, secure(func(sc *securityContext) { sc.ReadonlyRootfs = true })); got != "refused" {
		t.Errorf("read-only: %s", got)
	}
	if got := p.output("rw", script); got != "written" {
		t.Errorf("writable: %s", got)
	}
}

// nsOf is a process's namespace.
func nsOf(t testing.TB, pid, kind string) string {
	t.Helper()
	l, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testNamespaces(t *testing.T, s *suite) {
	read := func(p *pod, name string) map[string]string {
		p.t.Helper()
		id := p.run(name, idle)
		out := map[string]string{}
		for _, kind := range []string{"net", "ipc", "uts", "pid", "mnt"} {
			out[kind] = p.sh(id, "readlink /proc/self/ns/"+kind)
		}
		return out
	}
	own := s.pod(t)
	a, b := read(own, "a"), read(own, "b")
	for _, kind := range []string{"net", "ipc", "uts"} {
		if a[kind] != b[kind] || a[kind] == nsOf(t, "self", kind) {
			t.Errorf("%s namespaces: %s, %s", kind, a[kind], b[kind])
		}
	}
	for _, kind := range []string{"pid", "mnt"} {
		if a[kind] == b[kind] {
			t.Errorf("containers share the %s namespace", kind)
		}
	}
	host := s.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Hostname = ""
		c.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{
			Network: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_NODE,
		}
	})
	h := read(host, "hostpid")
	for _, kind := range []string{"net", "ipc", "pid"} {
		if h[kind] != nsOf(t, "self", kind) {
			t.Errorf("%s is not the host's: %s", kind, h[kind])
		}
	}
	if ip := host.status().Status.GetNetwork().GetIp(); ip != "" {
		t.Errorf("a pod on the host's network has an address of its own: %s", ip)
	}
	shared := s.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
	})
	first := shared.run("first", "sleep 4321")
	second := shared.run("second", idle)
	if ps := shared.sh(second, "ps"); !strings.Contains(ps, "sleep 4321") {
		t.Errorf("containers don't see each other: %s", ps)
	}
	if one := shared.sh(first, "cat /proc/1/comm"); one != "pause" {
		t.Errorf("process 1 is %s", one)
	}
}

func testTargetPID(t *testing.T, s *suite) {
	p := s.pod(t)
	app := p.run("app", "sleep 1234 & "+idle)
	join := secure(func(sc *securityContext) {
		sc.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: app}
	})
	debugger := p.run("debugger", idle, join)
	if ps := p.sh(debugger, "ps"); !strings.Contains(ps, "sleep 1234") {
		t.Errorf("the target's processes are not seen: %s", ps)
	}
	config := p.containerConfig("lost", idle)
	config.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "none"}
	if _, err := p.create(config); err == nil {
		t.Error("a target that is not there")
	}
}

func testSharedMemory(t *testing.T, s *suite) {
	p := s.pod(t)
	a, b := p.run("a", idle), p.run("b", idle)
	p.sh(a, "echo shared > /dev/shm/x")
	if got := p.sh(b, "cat /dev/shm/x"); got != "shared" {
		t.Errorf("got %q", got)
	}
	other := s.pod(t)
	if got := other.sh(other.run("c", idle), "ls /dev/shm"); got != "" {
		t.Errorf("another pod sees %q", got)
	}
}

func testUserNamespace(t *testing.T, s *suite) {
	mapping := []*runtimeapi.IDMapping{{HostId: 1 << 20, ContainerId: 0, Length: 65536}}
	p := s.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: mapping, Gids: mapping}
	})
	// A volume comes from a folder that only root may pass.
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("readable\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	id := p.run("app", idle, mounting(&runtimeapi.Mount{HostPath: filepath.Join(dir, "file"), ContainerPath: "/volume"}))
	if got := p.sh(id, "cat /volume; tail -n 1 /etc/resolv.conf"); got != "readable\noptions ndots:5" {
		t.Errorf("mounted: %q", got)
	}
	if got := p.sh(id, "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; touch /mine && stat -c %u /mine /bin"); got != "0\n0 1048576 65536\n0\n0" {
		t.Errorf("inside: %q", got)
	}
	info := must(s.rt.ContainerStatus(within(t), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true}))(t).Info["info"]
	var told struct{ PID int }
	if err := json.Unmarshal([]byte(info), &told); err != nil || told.PID == 0 {
		t.Fatalf("no pid in %s: %v", info, err)
	}
	if fi, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", told.PID)); err != nil || !regexp.MustCompile(`(?m)^Uid:\s+1048576\s`).Match(fi) {
		t.Errorf("on the host it is not 1048576: %v\n%s", err, fi)
	}
}

func testSysctls(t *testing.T, s *suite) {
	p := s.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "1024 65000"}
	})
	got := p.output("app", "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range")
	if strings.Join(strings.Fields(got), " ") != "1 1024 65000" {
		t.Errorf("got %q", got)
	}
}

func testLimits(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle, func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, OomScoreAdj: 777}
	})
	if got := p.sh(id, memoryLimit); got != "67108864" {
		t.Errorf("memory limit %s", got)
	}
	const cpu = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us)"
	if got := p.sh(id, cpu); got != "50000 100000" {
		t.Errorf("CPU limit %s", got)
	}
	if got := p.sh(id, "cat /proc/1/oom_score_adj"); got != "777" {
		t.Errorf("OOM score %s", got)
	}
	if got := p.container(id).GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 64<<20 || got.GetCpuQuota() != 50000 {
		t.Errorf("told %v", got)
	}
}

func testOOMKill(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", "exec tail -c 400000000 /dev/zero", func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 32 << 20}
	})
	if st := p.exited(id); st.Reason != "OOMKilled" || st.ExitCode != 137 {
		t.Errorf("status %v", st)
	}
}

func testDNSAndHostname(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	if got := p.sh(id, "hostname; cat /etc/hostname"); got != p.config.Hostname+"\n"+p.config.Hostname {
		t.Errorf("host name %q", got)
	}
	want := "search critests.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5"
	if got := p.sh(id, "cat /etc/resolv.conf"); got != want {
		t.Errorf("resolv.conf %q", got)
	}
}
