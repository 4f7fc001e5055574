package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

// noFolders is a profile that allows all but two things: to make a folder, and to
// give a file the mode 0700.
func noFolders(errno unix.Errno) *specs.LinuxSeccomp {
	ret := uint(errno)
	deny := func(names []string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: names, Action: specs.ActErrno, ErrnoRet: &ret, Args: args}
	}
	mode := func(index uint) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Value: 0o700, Op: specs.OpEqualTo}
	}
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		deny([]string{"mkdir", "mkdirat"}), deny([]string{"chmod"}, mode(1)), deny([]string{"fchmodat", "fchmodat2"}, mode(2)),
	}}
}

// programs counts the compiled profiles that the keeper holds.
func programs(t *testing.T, k *keepertest.Real) (n int) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", k.PID(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "/memfd:proa-seccomp") {
			n++
		}
	}
	return n
}

// A profile holds in the first container, for which it is compiled, and in later
// ones, which get what was compiled; each container gets its own profile, and none
// gets a descriptor too many.
func TestSeccompProfilesAreCompiledOnce(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	const script = `busybox mkdir /tmp/d; busybox touch /tmp/f; busybox chmod 700 /tmp/f; busybox chmod 755 /tmp/f && echo "others work"
		for fd in /proc/$$/fd/*; do readlink $fd | grep memfd; done; grep Seccomp: /proc/self/status`
	want := func(errno unix.Errno) string {
		says := map[unix.Errno]string{unix.EXDEV: "Invalid cross-device link", unix.ENOSPC: "No space left on device"}[errno]
		return fmt.Sprintf("others work\nSeccomp:\t2\nmkdir: can't create directory '/tmp/d': %s\nchmod: /tmp/f: %s\n", says, says)
	}
	for i, errno := range []unix.Errno{unix.EXDEV, unix.ENOSPC} {
		with := func(c *keeper.Container) { c.Spec.Linux.Seccomp = noFolders(errno) }
		for _, when := range []string{"first", "later"} {
			name := fmt.Sprint(when, i)
			if got := output(t, k, sb, name, script, with); got != want(errno) {
				t.Errorf("%s: %q, want %q", name, got, want(errno))
			}
			keepertest.Eventually(t, "the profile is compiled", func() bool { return programs(t, k) == i+1 })
		}
		r := run(t, k, sb, fmt.Sprint("long", i), "sleep 1000", with)
		if got := execOutput(t, k, r.ID, script); got != want(errno) {
			t.Errorf("exec: %q, want %q", got, want(errno))
		}
	}
}

// execOutput runs a script in a running container and returns what it printed.
func execOutput(t *testing.T, k *keepertest.Real, id, script string) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	p := &specs.Process{Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/bin"}}
	s, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: id, Process: p, Stdout: out, Stderr: errs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	var said []byte
	for _, f := range []*os.File{out, errs} {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, text...)
	}
	return string(said)
}
