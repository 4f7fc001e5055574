package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

func TestMain(m *testing.M) { keepertest.Main(m) }

func TestConformance(t *testing.T) {
	keepertest.Start(t).Run(t)
}

// bounded is a context that ends what hangs.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run starts a container that runs a shell script.
func run(t testing.TB, k *keepertest.Real, sb keeper.SandboxStatus, name, script string, change ...func(*keeper.Container)) keeper.Container {
	t.Helper()
	r := k.Request(t, sb, name, "sh", "-c", script)
	for _, f := range change {
		f(&r)
	}
	if _, err := k.Client.Run(bounded(t), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func wait(t testing.TB, k *keepertest.Real, id string) keeper.ContainerStatus {
	t.Helper()
	st, err := k.Client.Wait(bounded(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// output runs a script to its end and returns what it printed.
func output(t testing.TB, k *keepertest.Real, sb keeper.SandboxStatus, name, script string, change ...func(*keeper.Container)) string {
	t.Helper()
	r := run(t, k, sb, name, script, change...)
	wait(t, k, r.ID)
	return keepertest.ReadLog(t, r.LogPath, "stdout") + keepertest.ReadLog(t, r.LogPath, "stderr")
}

func TestExitCodesAndSignals(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	for i, c := range []struct {
		script       string
		code, signal int
	}{{"exit 0", 0, 0}, {"exit 7", 7, 0}, {"exit 255", 255, 0}, {"exit 137", 137, 0}} {
		r := run(t, k, sb, fmt.Sprint("c", i), c.script)
		if st := wait(t, k, r.ID); st.ExitCode != c.code || st.Signal != c.signal || !st.ExitKnown || st.OOMKilled {
			t.Errorf("%s: %+v", c.script, st)
		}
	}
	r := run(t, k, sb, "trap", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done")
	keepertest.Eventually(t, "trap set", func() bool { return keepertest.ReadLog(t, r.LogPath, "stdout") == "ready\n" })
	if err := k.Client.Signal(bounded(t), r.ID, syscall.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, k, r.ID); st.ExitCode != 3 {
		t.Errorf("trapped: %+v", st)
	}
	if got := keepertest.ReadLog(t, r.LogPath, "stdout"); got != "ready\nbye\n" {
		t.Errorf("log %q", got)
	}
}

func TestInsideASandbox(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t, func(s *keeper.Sandbox) {
		s.Hostname = "web-0"
		s.ShmSize = 8 << 20
		s.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shm_rmid_forced": "1"}
	})
	for name, c := range map[string]struct{ script, want string }{
		"hostname": {"hostname", "web-0\n"},
		"loopback": {"ip -o link show lo | grep -c LOWER_UP || ip link", "1\n"},
		"netctl":   {"cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n"},
		"ipcctl":   {"cat /proc/sys/kernel/shm_rmid_forced", "1\n"},
		"pid":      {"echo $$", "1\n"},
		"shm":      {"df -k /dev/shm | grep -c 8192", "1\n"},
		"stdout":   {"echo to stdout; echo to stderr >&2; echo reopened > /dev/stdout", "to stdout\nreopened\nto stderr\n"},
	} {
		script := c.script
		if name == "loopback" {
			script = "ip link show lo"
		}
		got := output(t, k, sb, name, script)
		if name == "loopback" {
			if !strings.Contains(got, "LOOPBACK,UP") {
				t.Errorf("loopback: %q", got)
			}
			continue
		}
		if name == "shm" {
			got = output(t, k, sb, "shm2", "df -k /dev/shm")
			if !strings.Contains(got, " 8192 ") {
				t.Errorf("shm: %q", got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: got %q want %q", name, got, c.want)
		}
	}
	if _, err := k.Client.StartSandbox(bounded(t), keeper.Sandbox{ID: "bad", Sysctls: map[string]string{"kernel.panic": "1"}}); err == nil ||
		!strings.Contains(err.Error(), "not in a separate kernel namespace") {
		t.Errorf("host sysctl: %v", err)
	}
	if _, err := k.Client.StartSandbox(bounded(t), keeper.Sandbox{ID: "bad", Sysctls: map[string]string{"net.ipv4.nosuch": "1"}}); err == nil {
		t.Error("unknown sysctl accepted")
	}
}

func TestTwoSandboxesAreApart(t *testing.T) {
	k := keepertest.Start(t)
	one, two := k.Sandbox(t), k.Sandbox(t)
	run(t, k, one, "server", "nc -l -p 8080; sleep 1000")
	run(t, k, one, "writer", "echo shared > /dev/shm/file; sleep 1000")
	if got := output(t, k, one, "reader", "until [ -s /dev/shm/file ]; do sleep 0.01; done; cat /dev/shm/file"); got != "shared\n" {
		t.Errorf("shared memory: %q", got)
	}
	if got := output(t, k, one, "client", "until cat /proc/net/tcp /proc/net/tcp6 | grep -q :1F90; do sleep 0.01; done; echo found"); got != "found\n" {
		t.Errorf("network of the same sandbox: %q", got)
	}
	if got := output(t, k, two, "stranger", "ls /dev/shm; cat /proc/net/tcp /proc/net/tcp6"); strings.Contains(got, "1F90") || strings.Contains(got, "file") {
		t.Errorf("the other sandbox: %q", got)
	}
}

// With a shared PID namespace pause is PID 1, unprivileged, in an empty root,
// and reaps what containers leave behind.
func TestSharedPIDNamespace(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t, func(s *keeper.Sandbox) { s.SharePID = true })
	ptrace := func(c *keeper.Container) {
		caps := append(slices.Clone(c.Spec.Process.Capabilities.Bounding), "CAP_SYS_PTRACE")
		c.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	}
	got := output(t, k, sb, "look", `
		tr '\0' ' ' < /proc/1/cmdline; echo
		while read -r k v; do case $k in Uid:|CapBnd:|CapEff:|NoNewPrivs:|Name:) echo $k $v;; esac; done < /proc/1/status
		ls -A /proc/1/root/ | wc -l
		( echo intrusion > /proc/1/root/file ) 2>/dev/null || echo read-only`, ptrace)
	want := "/pause \nName: pause\nUid: 65535 65535 65535 65535\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n0\nread-only\n"
	if strings.ReplaceAll(got, "\t", " ") != want {
		t.Errorf("pause seen from a container:\n%s\nwant:\n%s", got, want)
	}
	got = output(t, k, sb, "orphans", `
		for i in 1 2 3 4 5; do sh -c '(sleep 0.05; exit 0) & exit 0'; done
		n=0; while [ $n -lt 200 ]; do
			ps -o stat,comm > /tmp/ps.$$; grep -q '^Z' /tmp/ps.$$ 2>/dev/null || { [ $n -gt 20 ] && break; }
			n=$((n+1)); sleep 0.01
		done; ps -o stat | tr -d ' ' > /tmp/ps; while read -r s; do case $s in Z*) echo zombie;; esac; done < /tmp/ps; echo done`)
	if strings.Contains(got, "zombie") || !strings.Contains(got, "done") {
		t.Errorf("zombies in a shared PID namespace: %q", got)
	}
	// What outlives its container's init does not outlive the container.
	r := run(t, k, sb, "daemon", "setsid sleep 1234 & sleep 0.1; exit 0")
	wait(t, k, r.ID)
	if got := output(t, k, sb, "ps", "ps -o args"); strings.Contains(got, "sleep 1234") {
		t.Errorf("a process outlived its container: %q", got)
	}
}

func TestHostPIDOrphansDie(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t, func(s *keeper.Sandbox) { s.HostPID = true })
	hostPID := func(c *keeper.Container) {
		c.Spec.Linux.Namespaces = slices.DeleteFunc(c.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
	}
	r := run(t, k, sb, "daemon", "setsid sleep 4321 & echo $!; exit 5", hostPID)
	if st := wait(t, k, r.ID); st.ExitCode != 5 {
		t.Fatalf("%+v", st)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(keepertest.ReadLog(t, r.LogPath, "stdout")))
	if err != nil {
		t.Fatal(err)
	}
	keepertest.Gone(t, pid) // killed with its container, and reaped by the keeper
}

func TestUserNamespace(t *testing.T) {
	k := keepertest.Start(t)
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
	sb := k.Sandbox(t, func(s *keeper.Sandbox) { s.UIDMappings, s.GIDMappings = mapping, mapping })
	userNS := func(c *keeper.Container) {
		c.Spec.Linux.UIDMappings, c.Spec.Linux.GIDMappings = mapping, mapping
		c.Spec.Process.OOMScoreAdj = nil
	}
	r := run(t, k, sb, "c", "id -u; hostname; echo x > /dev/shm/f && echo writable; echo again > /dev/stdout; sleep 1000", userNS)
	keepertest.Eventually(t, "output", func() bool {
		return strings.HasSuffix(keepertest.ReadLog(t, r.LogPath, "stdout"), "again\n")
	})
	if got := keepertest.ReadLog(t, r.LogPath, "stdout"); got != "0\npod\nwritable\nagain\n" {
		t.Errorf("log %q %q", got, keepertest.ReadLog(t, r.LogPath, "stderr"))
	}
	st, err := k.Client.Container(bounded(t), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{st.PID, sb.PID} {
		var stat unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d", pid), &stat); err != nil || stat.Uid < 200000 && stat.Uid != 0 {
			t.Errorf("pid %d belongs to host user %d (%v)", pid, stat.Uid, err)
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if !bytes.Contains(status, []byte("Uid:\t2")) {
			t.Errorf("pid %d is host root:\n%s", pid, status)
		}
	}
}

func TestLogsOfAllKinds(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	if got := output(t, k, sb, "partial", "echo -n no newline"); got != "no newline" {
		t.Errorf("partial: %q", got)
	}
	if got := output(t, k, sb, "long", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"); got != strings.Repeat("x", 100000)+"\nend\n" {
		t.Errorf("long line: %d bytes", len(got))
	}
	if got := output(t, k, sb, "binary", `printf 'a\000\377\r\nb\n'`); got != "a\x00\xff\r\nb\n" {
		t.Errorf("binary: %q", got)
	}
	r := run(t, k, sb, "many", "seq 1 1000000")
	wait(t, k, r.ID)
	got := bufio.NewScanner(strings.NewReader(keepertest.ReadLog(t, r.LogPath, "stdout")))
	n := 0
	for got.Scan() {
		if n++; got.Text() != strconv.Itoa(n) {
			t.Fatalf("line %d is %q", n, got.Text())
		}
	}
	if n != 1000000 {
		t.Errorf("%d lines", n)
	}
}

// Rotation under a fast writer loses no line.
func TestRotationUnderLoad(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	r := run(t, k, sb, "writer", "seq 1 2000000")
	var files []string
	for i := 0; ; i++ {
		if _, err := os.Stat(r.LogPath); err == nil {
			old := fmt.Sprintf("%s.%d", r.LogPath, i)
			if err := os.Rename(r.LogPath, old); err != nil {
				t.Fatal(err)
			}
			files = append(files, old)
		}
		if err := k.Client.ReopenLog(bounded(t), r.ID); err != nil {
			if !errors.Is(err, keeper.ErrNotRunning) {
				t.Fatal(err)
			}
			break
		}
	}
	wait(t, k, r.ID)
	n := 0
	for _, f := range append(files, r.LogPath) {
		lines := bufio.NewScanner(strings.NewReader(keepertest.ReadLog(t, f, "stdout")))
		for lines.Scan() {
			if n++; lines.Text() != strconv.Itoa(n) {
				t.Fatalf("%s: line %d is %q", f, n, lines.Text())
			}
		}
	}
	if n != 2000000 {
		t.Errorf("%d lines in %d files", n, len(files))
	}
}

func TestTerminal(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	tty := func(c *keeper.Container) {
		c.TTY, c.Stdin, c.Spec.Process.Terminal = true, true, true
		c.Spec.Process.ConsoleSize = &specs.Box{Width: 100, Height: 30}
	}
	r := run(t, k, sb, "c", "tty; stty size; while read -r line; do echo got $line; stty size; done", tty)
	a, err := k.Client.Attach(bounded(t), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.Stderr() != nil {
		t.Error("a terminal has two streams")
	}
	keepertest.Eventually(t, "first size", func() bool {
		return strings.Contains(keepertest.ReadLog(t, r.LogPath, "stdout"), "30 100")
	})
	if err := a.Resize(keeper.WindowSize{Width: 132, Height: 43}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(a.Stdin(), "hello\n"); err != nil {
		t.Fatal(err)
	}
	keepertest.Eventually(t, "answer", func() bool {
		log := keepertest.ReadLog(t, r.LogPath, "stdout")
		return strings.Contains(log, "/dev/pts/0") && strings.Contains(log, "got hello") && strings.Contains(log, "43 132")
	})
}

func TestExecTerminal(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	r := run(t, k, sb, "c", "sleep 1000")
	p := &specs.Process{Args: []string{"sh", "-c", "read x; stty size; echo got $x; exit 9"}, Cwd: "/", Env: []string{"PATH=/bin"}, Terminal: true}
	s, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: r.ID, Process: p, TTY: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer s.Terminal().Close()
	if err := s.Resize(keeper.WindowSize{Width: 90, Height: 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Terminal().WriteString("input\n"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(s.Terminal())
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("end of the terminal: %v", err)
	}
	if got := string(all); !strings.Contains(got, "20 90") || !strings.Contains(got, "got input") {
		t.Errorf("terminal said %q", got)
	}
	if exit, err := s.Wait(bounded(t)); err != nil || exit.Code != 9 {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

// A closed session kills what it started, children included.
func TestExecCloseKillsTheGroup(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	r := run(t, k, sb, "c", "sleep 1000")
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR.Close()
	p := &specs.Process{Args: []string{"sh", "-c", "sleep 999 & echo started; wait"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	s, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: r.ID, Process: p, Stdout: outW})
	if err != nil {
		t.Fatal(err)
	}
	outW.Close()
	if line, err := bufio.NewReader(outR).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(outR); err != nil { // both held it
		t.Fatal(err)
	}
}

func TestOOM(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	events, err := k.Client.Events(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	small := func(c *keeper.Container) {
		limit := int64(48 << 20)
		c.Spec.Linux.Resources.Memory.Limit = &limit
	}
	r := run(t, k, sb, "self", "exec dd if=/dev/zero of=/dev/null bs=100M count=1", small)
	if st := wait(t, k, r.ID); !st.OOMKilled || st.ExitCode != 137 || st.Signal != 9 {
		t.Errorf("the init process: %+v", st)
	}
	seen := false
	for e := range events {
		if e.ContainerID == r.ID && e.Type == keeper.EventOOM {
			seen = true
		}
		if e.ContainerID == r.ID && e.Type == keeper.EventExited {
			break
		}
	}
	if !seen {
		t.Error("no OOM event before the exit")
	}
	r = run(t, k, sb, "child", "dd if=/dev/zero of=/dev/null bs=100M count=1; exit 4", small)
	if st := wait(t, k, r.ID); !st.OOMKilled || st.ExitCode != 4 {
		t.Errorf("a child: %+v", st)
	}
	r = run(t, k, sb, "exec", "sleep 1000", small)
	p := &specs.Process{Args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	s, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: r.ID, Process: p})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if exit, err := s.Wait(bounded(t)); err != nil || exit.Code != 137 || !exit.OOMKilled {
		t.Errorf("an exec: %+v, %v", exit, err)
	}
}

func TestCPUQuotaIsSetAndUpdated(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	quota, period := int64(20000), uint64(100000)
	r := run(t, k, sb, "c", "sleep 1000", func(c *keeper.Container) {
		c.Spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	})
	read := func() string {
		for _, file := range []string{"/sys/fs/cgroup/cpu%s/%s/cpu.cfs_quota_us", "/sys/fs/cgroup%s/%s/cpu.max"} {
			if text, err := os.ReadFile(fmt.Sprintf(file, k.Cgroup, r.ID)); err == nil {
				return strings.Fields(string(text))[0]
			}
		}
		t.Fatal("no CPU limit file")
		return ""
	}
	if got := read(); got != "20000" {
		t.Errorf("quota %s", got)
	}
	quota = 50000
	limit := int64(128 << 20)
	if err := k.Client.UpdateResources(bounded(t), r.ID, &specs.LinuxResources{
		CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}, Memory: &specs.LinuxMemory{Limit: &limit},
	}); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "50000" {
		t.Errorf("updated quota %s", got)
	}
	all, err := k.Client.Stats(bounded(t), r.ID, sb.ID, k.Cgroup)
	if err != nil || len(all) != 3 {
		t.Fatalf("stats %+v, %v", all, err)
	}
	if c := all[0]; c.Memory.Limit != 128<<20 || c.Memory.Usage == 0 || c.CPU.Usage == 0 || c.PIDs == 0 {
		t.Errorf("stats %+v", c)
	}
}

// Its limits would bound its pod's as long as it is there.
func TestAnEndedContainerHasNoCgroup(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	r := run(t, k, sb, "c", "exit 3")
	if st := wait(t, k, r.ID); st.ExitCode != 3 {
		t.Fatalf("%+v", st)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := filepath.Glob("/sys/fs/cgroup/*" + k.Cgroup + "/" + r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat("/sys/fs/cgroup" + k.Cgroup + "/" + r.ID); len(left) == 0 && err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left)
		}
	}
}

func TestStartErrorsAreFitForAUser(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	for name, c := range map[string]struct {
		change func(*keeper.Container)
		want   string
	}{
		"missing command": {func(c *keeper.Container) { c.Spec.Process.Args = []string{"/no/such"} }, `exec: "/no/such": stat /no/such: no such file or directory`},
		"a folder":        {func(c *keeper.Container) { c.Spec.Process.Args = []string{"/tmp"} }, `exec: "/tmp": is a directory`},
		"not executable":  {func(c *keeper.Container) { c.Spec.Process.Args = []string{"/etc/passwd"} }, "/etc/passwd"},
		"bad cwd":         {func(c *keeper.Container) { c.Spec.Process.Cwd = "/bin/busybox" }, "not a directory"},
		"missing mount": {func(c *keeper.Container) {
			c.Spec.Mounts = append(c.Spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/no/such/source", Options: []string{"bind"}})
		}, "/no/such/source"},
		"no root":       {func(c *keeper.Container) { c.Spec.Root = &specs.Root{Path: "/no/such/root"} }, "/no/such/root"},
		"bad log":       {func(c *keeper.Container) { c.LogPath = "/proc/nope/log" }, "open log"},
		"bad rlimit":    {func(c *keeper.Container) { c.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_WHAT"}} }, "RLIMIT_WHAT"},
		"little memory": {func(c *keeper.Container) { l := int64(1 << 20); c.Spec.Linux.Resources.Memory.Limit = &l }, "memory limit"},
		"duplicate netns": {func(c *keeper.Container) {
			c.Spec.Linux.Namespaces = append(c.Spec.Linux.Namespaces, c.Spec.Linux.Namespaces[1])
		}, "duplicated ns"},
	} {
		r := k.Request(t, sb, strings.ReplaceAll(name, " ", ""), "true")
		c.change(&r)
		_, err := k.Client.Run(bounded(t), r)
		var start *keeper.StartError
		if !errors.As(err, &start) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a start error with %q", name, err, c.want)
		}
		if err := k.Client.Remove(bounded(t), r.ID); err != nil {
			t.Errorf("%s: remove: %v", name, err)
		}
	}
}

func TestParallelStarts(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	var all sync.WaitGroup
	for i := range 8 {
		r := k.Request(t, sb, fmt.Sprint("c", i), "sh", "-c", fmt.Sprint("exit ", i))
		all.Go(func() {
			if _, err := k.Client.Run(context.Background(), r); err != nil {
				t.Error(err)
				return
			}
			if st, err := k.Client.Wait(context.Background(), r.ID); err != nil || st.ExitCode != i {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
	all.Wait()
}

// The keeper must answer whatever it is sent, and go on.
func TestGarbageOnTheSocket(t *testing.T) {
	k := keepertest.Start(t)
	for _, garbage := range []string{"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x02\x00\x05ab",
		"\x00\x00\x00\x06\x00\x06Create", "\x00\x00\x00\x08\x00\x06Create[]", "\x00\x00\x00\x04\x00\x04Boom"} {
		c, err := (&netDialer{}).dial(keeper.Socket(k.RunDir))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(garbage))
		_ = c.CloseWrite()
		_, _ = io.ReadAll(c)
		_ = c.Close()
	}
	if _, err := k.Client.Version(bounded(t)); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(keeper.Socket(k.RunDir))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", st.Mode(), err)
	}
}

func TestOneKeeperARunFolder(t *testing.T) {
	k := keepertest.Start(t)
	out, err := exec.Command(k.Programs.Keeper, "-run", k.RunDir, "-pause", k.Programs.Pause).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another keeper runs") {
		t.Fatalf("%v: %s", err, out)
	}
	if err := k.Client.Shutdown(bounded(t), false); err != nil {
		t.Fatal(err)
	}
	k.Launch(t)
	sb := k.Sandbox(t)
	if err := k.Client.Shutdown(bounded(t), false); !errors.Is(err, keeper.ErrBusy) {
		t.Fatalf("shutdown with sandbox %s: %v", sb.ID, err)
	}
}

// Nothing of hundreds of operations stays in the keeper: no descriptor, no
// goroutine (seen as threads and memory), no mount, no cgroup, no process.
func TestNothingLeaks(t *testing.T) {
	k := keepertest.Start(t)
	round := func() {
		sb, err := k.Client.StartSandbox(bounded(t), keeper.Sandbox{ID: "leak", Cgroup: k.Cgroup + "/leak"})
		if err != nil {
			t.Fatal(err)
		}
		tty := k.Request(t, sb, "tty", "sh", "-c", "sleep 1000")
		tty.TTY, tty.Stdin, tty.Spec.Process.Terminal = true, true, true
		if _, err := k.Client.Run(bounded(t), tty); err != nil {
			t.Fatal(err)
		}
		in := k.Request(t, sb, "in", "cat")
		in.Stdin = true
		if _, err := k.Client.Run(bounded(t), in); err != nil {
			t.Fatal(err)
		}
		a, err := k.Client.Attach(bounded(t), in.ID)
		if err != nil {
			t.Fatal(err)
		}
		p := &specs.Process{Args: []string{"true"}, Cwd: "/", Env: []string{"PATH=/bin"}}
		s, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: in.ID, Process: p})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(bounded(t)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		a.Close()
		failing := k.Request(t, sb, "fails", "no-such-command")
		if _, err := k.Client.Run(bounded(t), failing); err == nil {
			t.Fatal("started")
		}
		if err := k.Client.RemoveSandbox(bounded(t), "leak"); err != nil {
			t.Fatal(err)
		}
	}
	pid := k.PID(t)
	fds := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	children := func() int { return len(childrenOf(t, pid)) }
	round()
	pool := 0
	keepertest.Eventually(t, "a full pool", func() bool { pool = children(); return pool == 2 })
	before := fds()
	for range 5 {
		round()
	}
	keepertest.Eventually(t, "no more descriptors than before", func() bool { return fds() <= before })
	keepertest.Eventually(t, "no more children than before", func() bool { return children() == pool })
	if mounts := k.Mounts(t); len(mounts) > 0 {
		t.Errorf("mounts %q", mounts)
	}
	for _, dir := range k.CgroupDirs(t) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				t.Errorf("cgroup %s/%s", dir, e.Name())
			}
		}
	}
	for _, dir := range []string{"keeper/sandboxes", "keeper/containers", "keeper/oci", "netns", "shm"} {
		if entries, _ := os.ReadDir(filepath.Join(k.RunDir, dir)); len(entries) > 0 {
			t.Errorf("%s: %v", dir, entries)
		}
	}
}

func childrenOf(t testing.TB, pid int) []int {
	t.Helper()
	var all []int
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for f := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, child)
		}
	}
	return all
}
