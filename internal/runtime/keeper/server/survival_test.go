package server_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

type netDialer struct{}

func (netDialer) dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// crash kills the keeper and starts the next one.
func crash(t testing.TB, k *keepertest.Real, meanwhile func()) {
	t.Helper()
	pid := k.PID(t)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	keepertest.Gone(t, pid)
	if meanwhile != nil {
		meanwhile()
	}
	k.Launch(t)
}

func status(t testing.TB, k *keepertest.Real, id string) keeper.ContainerStatus {
	t.Helper()
	st, err := k.Client.Container(bounded(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// scene is one of everything that must survive the keeper.
type scene struct {
	sb                                  keeper.SandboxStatus
	printer, reader, terminal, finished keeper.Container
	created                             keeper.Container
	pids                                map[string]int
}

func newScene(t testing.TB, k *keepertest.Real) *scene {
	s := &scene{sb: k.Sandbox(t), pids: map[string]int{}}
	s.printer = run(t, k, s.sb, "printer", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done")
	s.reader = run(t, k, s.sb, "reader", "cat", func(c *keeper.Container) { c.Stdin = true })
	s.terminal = run(t, k, s.sb, "terminal", "while read -r x; do echo got $x; done", func(c *keeper.Container) {
		c.TTY, c.Stdin, c.Spec.Process.Terminal = true, true, true
	})
	s.finished = run(t, k, s.sb, "finished", "exit 6")
	wait(t, k, s.finished.ID)
	s.created = k.Request(t, s.sb, "created", "sh", "-c", "echo at last; exit 8")
	if _, err := k.Client.Create(bounded(t), s.created); err != nil {
		t.Fatal(err)
	}
	// Until its process waits for the start, a crash makes its start fail.
	keepertest.Eventually(t, "container prepared", func() bool {
		text, err := os.ReadFile(filepath.Join(k.RunDir, "keeper/containers", s.created.ID, "state.json"))
		return err == nil && !strings.Contains(string(text), `"PID":0,"StartTime":0`)
	})
	for _, c := range []keeper.Container{s.printer, s.reader, s.terminal} {
		s.pids[c.ID] = status(t, k, c.ID).PID
	}
	return s
}

// verify uses everything after the keeper was replaced.
func (s *scene) verify(t testing.TB, k *keepertest.Real) {
	t.Helper()
	sb, err := k.Client.Sandbox(bounded(t), s.sb.ID)
	if err != nil || !sb.Running || sb.PID != s.sb.PID {
		t.Errorf("sandbox %+v, %v", sb, err)
	}
	for id, pid := range s.pids {
		if st := status(t, k, id); st.State != keeper.Running || st.PID != pid {
			t.Errorf("%s: %+v, had pid %d", id, st, pid)
		}
	}
	if st := status(t, k, s.finished.ID); st.State != keeper.Exited || st.ExitCode != 6 || !st.ExitKnown {
		t.Errorf("finished: %+v", st)
	}
	// It still prints, without a gap.
	lines := func() int { return strings.Count(keepertest.ReadLog(t, s.printer.LogPath, "stdout"), "\n") }
	before := lines()
	keepertest.Eventually(t, "more lines", func() bool { return lines() > before+10 })
	s.consecutive(t)
	// Stdin and terminal still reach their processes.
	for _, c := range []keeper.Container{s.reader, s.terminal} {
		a, err := k.Client.Attach(bounded(t), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(a.Stdin(), "after\n"); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		keepertest.Eventually(t, "what was typed", func() bool {
			return strings.Contains(keepertest.ReadLog(t, c.LogPath, "stdout"), "after")
		})
		a.Close()
	}
	if err := k.Client.Resize(bounded(t), s.terminal.ID, keeper.WindowSize{Width: 10, Height: 10}); err != nil {
		t.Error(err)
	}
	// Exec works at once.
	p := &specs.Process{Args: []string{"sh", "-c", "exit 11"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	e, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: s.reader.ID, Process: p})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if exit, err := e.Wait(bounded(t)); err != nil || exit.Code != 11 {
		t.Errorf("exec: %+v, %v", exit, err)
	}
	// What was created starts.
	if _, err := k.Client.Start(bounded(t), s.created.ID); err != nil {
		t.Errorf("start of what was created before: %v", err)
	} else if st := wait(t, k, s.created.ID); st.ExitCode != 8 || !st.ExitKnown {
		t.Errorf("created: %+v", st)
	} else if got := keepertest.ReadLog(t, s.created.LogPath, "stdout"); got != "at last\n" {
		t.Errorf("created: log %q", got)
	}
	// And its end is known.
	if err := k.Client.Signal(bounded(t), s.printer.ID, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, k, s.printer.ID); !st.ExitKnown || st.ExitCode != 137 {
		t.Errorf("printer: %+v", st)
	}
	s.consecutive(t)
}

func (s *scene) consecutive(t testing.TB) {
	t.Helper()
	n := 0
	for line := range strings.Lines(keepertest.ReadLog(t, s.printer.LogPath, "stdout")) {
		if n++; line != fmt.Sprintf("line %d\n", n) {
			t.Fatalf("line %d of the log is %q", n, line)
		}
	}
}

func TestKeeperKilled(t *testing.T) {
	k := keepertest.Start(t)
	s := newScene(t, k)
	crash(t, k, nil)
	s.verify(t, k)
}

func TestKeeperKilledTwice(t *testing.T) {
	k := keepertest.Start(t)
	s := newScene(t, k)
	crash(t, k, nil)
	crash(t, k, nil)
	s.verify(t, k)
}

// What ends while no keeper watches has its exit code all the same, as far as
// the kernel tells (from 6.15).
func TestEndsWhileTheKeeperIsDead(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	gate := filepath.Join(k.Rootfs, "tmp", "gate")
	r := run(t, k, sb, "c", "until [ -e /tmp/gate ]; do sleep 0.01; done; exit 13")
	other := k.Sandbox(t)
	pid := status(t, k, r.ID).PID
	crash(t, k, func() {
		if err := os.WriteFile(gate, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(other.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		keepertest.Gone(t, pid)
		keepertest.Gone(t, other.PID)
	})
	st := wait(t, k, r.ID)
	if st.State != keeper.Exited || st.ExitKnown && st.ExitCode != 13 {
		t.Errorf("container: %+v", st)
	}
	if !st.ExitKnown && kernelTellsExits(t) {
		t.Errorf("the kernel knows how it ended, the keeper does not: %+v", st)
	}
	if sb, err := k.Client.Sandbox(bounded(t), other.ID); err != nil || sb.Running {
		t.Errorf("sandbox: %+v, %v", sb, err)
	}
}

func kernelTellsExits(t testing.TB) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}

// A writer with a full pipe waits for the next keeper; nothing kills it and
// nothing is lost.
func TestWriterOutlivesTheKeeper(t *testing.T) {
	k := keepertest.Start(t)
	sb := k.Sandbox(t)
	r := run(t, k, sb, "c", "until [ -e /tmp/gate ]; do sleep 0.01; done; seq 1 100000")
	crash(t, k, func() {
		if err := os.WriteFile(filepath.Join(k.Rootfs, "tmp", "gate"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if st := wait(t, k, r.ID); st.ExitCode != 0 || st.Signal != 0 {
		t.Errorf("%+v", st)
	}
	if got := strings.Count(keepertest.ReadLog(t, r.LogPath, "stdout"), "\n"); got != 100000 {
		t.Errorf("%d lines", got)
	}
}

// An upgrade changes the program, not the process; nothing that is open breaks.
func TestUpgrade(t *testing.T) {
	k := keepertest.Start(t)
	s := newScene(t, k)
	before, err := k.Client.Version(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	events, err := k.Client.Events(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.Client.Attach(bounded(t), s.reader.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	p := &specs.Process{Args: []string{"sh", "-c", "until [ -e /tmp/exec ]; do sleep 0.01; done; exit 21"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	e, err := k.Client.Exec(bounded(t), keeper.Exec{ContainerID: s.reader.ID, Process: p})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()

	for range 3 {
		if err := k.Client.Upgrade(bounded(t), k.Programs.Keeper); err != nil {
			t.Fatal(err)
		}
	}
	after, err := k.Client.Version(bounded(t))
	if err != nil || after.PID != before.PID || !after.Started.After(before.Started) {
		t.Errorf("version %+v, before %+v, %v", after, before, err)
	}
	// The attached client goes on.
	if _, err := io.WriteString(a.Stdin(), "still here\n"); err != nil {
		t.Error(err)
	}
	buf := make([]byte, len("still here\n"))
	if _, err := io.ReadFull(a.Stdout(), buf); err != nil || string(buf) != "still here\n" {
		t.Errorf("attach: %q, %v", buf, err)
	}
	// The exec session too.
	if err := os.WriteFile(filepath.Join(k.Rootfs, "tmp", "exec"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit, err := e.Wait(bounded(t)); err != nil || exit.Code != 21 {
		t.Errorf("exec: %+v, %v", exit, err)
	}
	s.verify(t, k)
	seen := false
	for ev := range events {
		if ev.ContainerID == s.printer.ID && ev.Type == keeper.EventExited {
			seen = true
			break
		}
	}
	if !seen {
		t.Error("the subscription did not survive")
	}
}

func TestUpgradeToSomethingElse(t *testing.T) {
	k := keepertest.Start(t)
	s := newScene(t, k)
	for _, path := range []string{"/no/such/program", "/bin/true", "/etc/passwd"} {
		if err := k.Client.Upgrade(bounded(t), path); err == nil {
			t.Errorf("upgraded to %s", path)
		}
	}
	s.verify(t, k)
}
