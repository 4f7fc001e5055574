package keepertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/kit/checkout"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Programs are a keeper and a pause built from this tree.
type Programs struct{ Keeper, Pause string }

// programsEnv names a folder with a proa-keeper and a pause to test instead of
// building them: one with the race detector, say.
const programsEnv = "PROA_KEEPER_PROGRAMS"

var build = sync.OnceValues(func() (Programs, error) {
	if dir := os.Getenv(programsEnv); dir != "" {
		return Programs{filepath.Join(dir, "proa-keeper"), filepath.Join(dir, "pause")}, nil
	}
	root, err := checkout.Root()
	if err != nil {
		return Programs{}, err
	}
	script := filepath.Join(root, "internal/runtime/pause/keeper.sh")
	dir, err := os.MkdirTemp("", "proa-keeper-test-")
	if err != nil {
		return Programs{}, err
	}
	if out, err := exec.Command(script, dir, "test").CombinedOutput(); err != nil {
		return Programs{}, errors.New(err.Error() + "\n" + string(out))
	}
	return Programs{filepath.Join(dir, "proa-keeper"), filepath.Join(dir, "pause")}, nil
})

// Main is for TestMain: it runs the tests and removes what Build made.
func Main(m *testing.M) {
	code := m.Run()
	if p, err := build(); err == nil && os.Getenv(programsEnv) == "" {
		_ = os.RemoveAll(filepath.Dir(p.Keeper))
	}
	os.Exit(code)
}

// Build builds the programs, once a test binary. Use Main with it.
func Build(t testing.TB) Programs {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("tests with real containers need root")
	}
	return must[Programs](t)(build())
}

// Real is a keeper process of its own, with a root file system.
type Real struct {
	Target
	Client   *keeper.Client
	Programs Programs
	RunDir   string
	Rootfs   string
	log      *os.File
}

// Start starts a keeper that the test's end shuts down, with everything in it.
// What it has said is shown if the test fails.
func Start(t testing.TB) *Real {
	t.Helper()
	r := &Real{Programs: Build(t), Rootfs: Rootfs(t)}
	// Not t.TempDir: a socket's path must be short.
	r.RunDir = must[string](t)(os.MkdirTemp("/run", "proa-test-"))
	r.log = must[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "keeper.log")))
	r.Cgroup = "/" + filepath.Base(r.RunDir)
	r.Spec = r.spec
	t.Cleanup(func() { r.stop(t) })
	r.Launch(t)
	return r
}

// Launch starts the keeper, or connects to it.
func (r *Real) Launch(t testing.TB) {
	t.Helper()
	c := must[*keeper.Client](t)(keeper.Launch(deadline(t), keeper.LaunchConfig{
		Program: r.Programs.Keeper, Pause: r.Programs.Pause, Run: r.RunDir, Log: r.log,
	}))
	r.Client, r.Keeper = c, c
}

// PID of the keeper.
func (r *Real) PID(t testing.TB) int {
	t.Helper()
	return must[keeper.Version](t)(r.Client.Version(deadline(t))).PID
}

func (r *Real) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Client.Shutdown(ctx, true); err != nil {
		t.Errorf("shut the keeper down: %v", err)
	}
	_ = r.Client.Close()
	if t.Failed() {
		if text, err := os.ReadFile(r.log.Name()); err == nil {
			t.Logf("the keeper said:\n%s", text)
		}
	}
	_ = r.log.Close()
	r.removeCgroup(t)
	if mounts := r.Mounts(t); len(mounts) > 0 {
		t.Errorf("mounts left behind: %q", mounts)
		for _, m := range mounts {
			_ = unix.Unmount(m, unix.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(r.RunDir); err != nil {
		t.Error(err)
	}
}

// removeCgroup removes the test's own cgroup; a child that the keeper has left
// in it is an error.
func (r *Real) removeCgroup(t testing.TB) {
	for _, dir := range r.CgroupDirs(t) {
		if err := unix.Rmdir(dir); err != nil {
			t.Errorf("cgroup left behind: %s: %v", dir, err)
		}
	}
}

// CgroupDirs are the folders of the test's cgroup, in every hierarchy.
func (r *Real) CgroupDirs(t testing.TB) []string {
	t.Helper()
	dirs := must[[]string](t)(filepath.Glob("/sys/fs/cgroup/*" + r.Cgroup))
	if _, err := os.Stat("/sys/fs/cgroup" + r.Cgroup); err == nil {
		dirs = append(dirs, "/sys/fs/cgroup"+r.Cgroup)
	}
	var own []string
	for _, d := range dirs { // cpu and cpuacct may be links to one
		if st, err := os.Lstat(filepath.Dir(d)); err == nil && st.IsDir() {
			own = append(own, d)
		}
	}
	return own
}

// Mounts are those below the keeper's run folder.
func (r *Real) Mounts(t testing.TB) []string {
	t.Helper()
	text := must[[]byte](t)(os.ReadFile("/proc/self/mountinfo"))
	var all []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], r.RunDir+"/") {
			all = append(all, f[4])
		}
	}
	return all
}

// Rootfs makes a root file system with busybox in it.
func Rootfs(t testing.TB) string {
	t.Helper()
	busybox := must[string](t)(exec.LookPath("busybox"))
	root := t.TempDir()
	check(t, os.Chmod(root, 0o755))
	check(t, os.Chmod(filepath.Dir(root), 0o755))
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp", "etc"} {
		check(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	check(t, os.Chmod(filepath.Join(root, "tmp"), 0o1777))
	check(t, os.WriteFile(filepath.Join(root, "bin/busybox"), must[[]byte](t)(os.ReadFile(busybox)), 0o755))
	for _, name := range []string{"sh", "sleep", "true", "false", "cat", "echo", "kill", "ps", "yes", "head", "dd", "tr",
		"hostname", "id", "ls", "wc", "stty", "tty", "ip", "mount", "sysctl", "setsid", "seq", "readlink", "nc", "grep", "stat", "df"} {
		check(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	return root
}

// capabilities are what containers have by default.
var capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}

// spec is that of an ordinary container of a pod: ten mounts, the default
// seccomp profile, a memory limit.
func (r *Real) spec(_ testing.TB, sb keeper.SandboxStatus, id string, args ...string) *specs.Spec {
	limit, score := int64(64<<20), 1000
	s := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: r.Rootfs},
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/bin", "HOME=/"}, OOMScoreAdj: &score,
			Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: r.Cgroup + "/" + id,
			Resources:   &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
			Namespaces:  []specs.LinuxNamespace{{Type: specs.MountNamespace}},
			MaskedPaths: []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadonlyPaths: []string{
				"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	for _, ns := range []struct {
		kind specs.LinuxNamespaceType
		path string
	}{{specs.NetworkNamespace, sb.NetNS}, {specs.IPCNamespace, sb.IPCNS}, {specs.UTSNamespace, sb.UTSNS}, {specs.UserNamespace, sb.UserNS}} {
		if ns.path != "" {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: ns.kind, Path: ns.path})
		}
	}
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: sb.PIDNS})
	if sb.Shm != "" {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: sb.Shm, Options: []string{"rbind", "rprivate"}})
	}
	return s
}

// Gone waits until a process is no more, or a zombie that only its parent keeps.
func Gone(t testing.TB, pid int) {
	t.Helper()
	Eventually(t, "end of a process", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
}
