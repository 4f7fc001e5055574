package keepertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Target is a keeper under test. Its containers know the commands sleep, true,
// false, cat and echo.
type Target struct {
	Keeper keeper.Keeper
	// Spec of a container of a sandbox that runs a command.
	Spec func(t testing.TB, sb keeper.SandboxStatus, id string, args ...string) *specs.Spec
	// Cgroup is under which cgroup sandboxes go, "" = none.
	Cgroup string
}

// patience bounds every wait of the suite; nothing is asserted about time.
const patience = 15 * time.Second

// Run runs the suite.
func (x Target) Run(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Target)
	}{
		{"SandboxLifecycle", sandboxLifecycle},
		{"SandboxWrongInput", sandboxWrongInput},
		{"ContainerLifecycle", containerLifecycle},
		{"ExitCodes", exitCodes},
		{"StartError", startError},
		{"ContainerWrongInput", containerWrongInput},
		{"Signals", signals},
		{"RemoveKills", removeKills},
		{"StopSandboxKills", stopSandboxKills},
		{"Events", eventsInOrder},
		{"Log", logLines},
		{"ReopenLog", reopenLog},
		{"ExecFiles", execFiles},
		{"ExecErrors", execErrors},
		{"ExecClose", execClose},
		{"ExecSignal", execSignal},
		{"Attach", attach},
		{"AttachStdinOnce", attachStdinOnce},
		{"UpdateAndStats", updateAndStats},
		{"Meta", meta},
		{"CancelledContext", cancelledContext},
		{"Version", version},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, x) })
	}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// ID makes an ID that no other test uses.
func ID(t testing.TB, name string) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-" + name
}

// Sandbox starts one that the test's end removes.
func (x Target) Sandbox(t testing.TB, change ...func(*keeper.Sandbox)) keeper.SandboxStatus {
	t.Helper()
	id := ID(t, fmt.Sprintf("sb%d", len(must[[]keeper.SandboxStatus](t)(x.Keeper.Sandboxes(deadline(t))))))
	r := keeper.Sandbox{ID: id, Hostname: "pod"}
	if x.Cgroup != "" {
		r.Cgroup = x.Cgroup + "/" + id
	}
	for _, f := range change {
		f(&r)
	}
	st := must[keeper.SandboxStatus](t)(x.Keeper.StartSandbox(deadline(t), r))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := x.Keeper.RemoveSandbox(ctx, st.ID); err != nil && !errors.Is(err, keeper.ErrUnavailable) {
			t.Errorf("remove sandbox: %v", err)
		}
	})
	return st
}

// Request is a container of a sandbox that runs a command.
func (x Target) Request(t testing.TB, sb keeper.SandboxStatus, name string, args ...string) keeper.Container {
	t.Helper()
	id := ID(t, name)
	return keeper.Container{ID: id, SandboxID: sb.ID, Spec: x.Spec(t, sb, id, args...), LogPath: filepath.Join(t.TempDir(), name+".log")}
}

func sandboxLifecycle(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	if !sb.Running || sb.PID <= 0 || sb.NetNS == "" || sb.IPCNS == "" || sb.UTSNS == "" || sb.Shm == "" || sb.CreatedAt.IsZero() {
		t.Fatalf("status of a new sandbox: %+v", sb)
	}
	if sb.PIDNS != "" || sb.UserNS != "" {
		t.Fatalf("namespaces that nobody asked for: %+v", sb)
	}
	_, err := x.Keeper.StartSandbox(ctx, keeper.Sandbox{ID: sb.ID})
	wantErr(t, err, keeper.ErrExists)
	for range 2 { // idempotent
		check(t, x.Keeper.StopSandbox(ctx, sb.ID))
	}
	st := must[keeper.SandboxStatus](t)(x.Keeper.Sandbox(ctx, sb.ID))
	if st.Running || st.PID != 0 || st.FinishedAt.IsZero() || st.NetNS != sb.NetNS {
		t.Fatalf("status of a stopped sandbox: %+v", st)
	}
	_, err = x.Keeper.Create(ctx, x.Request(t, sb, "late", "true"))
	wantErr(t, err, keeper.ErrNotRunning)
	for range 2 {
		check(t, x.Keeper.RemoveSandbox(ctx, sb.ID))
	}
	_, err = x.Keeper.Sandbox(ctx, sb.ID)
	wantErr(t, err, keeper.ErrNotFound)
	check(t, x.Keeper.StopSandbox(ctx, sb.ID))
}

func sandboxWrongInput(t *testing.T, x Target) {
	for _, c := range []keeper.Sandbox{
		{}, {ID: "../x"}, {ID: "a/b"}, {ID: ".hidden"}, {ID: strings.Repeat("x", 200)},
		{ID: "x", Cgroup: "relative"}, {ID: "x", Cgroup: "/a/../b"}, {ID: "x", Cgroup: "/"},
		{ID: "x", Hostname: strings.Repeat("h", 65)}, {ID: "x", ShmSize: -1}, {ID: "x", HostPID: true, SharePID: true},
		{ID: "x", UIDMappings: []specs.LinuxIDMapping{{Size: 1}}},
	} {
		_, err := x.Keeper.StartSandbox(deadline(t), c)
		wantErr(t, err, keeper.ErrInvalid)
	}
}

func containerLifecycle(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	st := must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	if st.State != keeper.Created || st.PID != 0 || st.SandboxID != sb.ID || st.CreatedAt.IsZero() || !st.StartedAt.IsZero() {
		t.Fatalf("created: %+v", st)
	}
	_, err := x.Keeper.Create(ctx, r)
	wantErr(t, err, keeper.ErrExists)
	wantErr(t, x.Keeper.Signal(ctx, r.ID, syscall.SIGTERM, false), keeper.ErrNotRunning)
	st = must[keeper.ContainerStatus](t)(x.Keeper.Start(ctx, r.ID))
	if st.State != keeper.Running || st.PID <= 0 || st.StartedAt.IsZero() || st.LogPath != r.LogPath {
		t.Fatalf("started: %+v", st)
	}
	if _, err := x.Keeper.Start(ctx, r.ID); err == nil {
		t.Fatal("started twice")
	}
	check(t, x.Keeper.Signal(ctx, r.ID, syscall.SIGKILL, false))
	st = must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
	if st.State != keeper.Exited || st.PID != 0 || !st.ExitKnown || st.ExitCode != 137 || st.Signal != 9 || st.OOMKilled || st.FinishedAt.IsZero() {
		t.Fatalf("exited: %+v", st)
	}
	wantErr(t, x.Keeper.Signal(ctx, r.ID, syscall.SIGTERM, false), keeper.ErrNotRunning)
	all := must[[]keeper.ContainerStatus](t)(x.Keeper.Containers(ctx))
	if !slices.ContainsFunc(all, func(c keeper.ContainerStatus) bool { return c.ID == r.ID }) {
		t.Fatal("not listed")
	}
	for range 2 {
		check(t, x.Keeper.Remove(ctx, r.ID))
	}
	_, err = x.Keeper.Container(ctx, r.ID)
	wantErr(t, err, keeper.ErrNotFound)
	_, err = x.Keeper.Wait(ctx, r.ID)
	wantErr(t, err, keeper.ErrNotFound)
}

func exitCodes(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	for name, want := range map[string]int{"true": 0, "false": 1} {
		r := x.Request(t, sb, name, name)
		must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
		st := must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
		if st.ExitCode != want || !st.ExitKnown || st.Signal != 0 {
			t.Fatalf("%s: %+v", name, st)
		}
	}
}

func startError(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "no-such-command")
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	for range 2 { // the second time, too
		_, err := x.Keeper.Start(ctx, r.ID)
		var start *keeper.StartError
		if !errors.As(err, &start) && !errors.Is(err, keeper.ErrInvalid) {
			t.Fatalf("got %v", err)
		}
		if start != nil && !strings.Contains(start.Message, `exec: "no-such-command": executable file not found in $PATH`) {
			t.Fatalf("message %q", start.Message)
		}
	}
	st := must[keeper.ContainerStatus](t)(x.Keeper.Container(ctx, r.ID))
	if st.State != keeper.Exited || st.ExitCode != keeper.StartExitCode || !st.ExitKnown || st.StartError == "" || !st.StartedAt.IsZero() {
		t.Fatalf("status: %+v", st)
	}
	check(t, x.Keeper.Remove(ctx, r.ID))
}

func containerWrongInput(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	good := x.Request(t, sb, "c", "true")
	for name, change := range map[string]func(*keeper.Container){
		"bad ID":     func(c *keeper.Container) { c.ID = "../c" },
		"no spec":    func(c *keeper.Container) { c.Spec = nil },
		"no process": func(c *keeper.Container) { s := *c.Spec; s.Process = nil; c.Spec = &s },
		"no args":    func(c *keeper.Container) { s := *c.Spec; s.Process = &specs.Process{}; c.Spec = &s },
	} {
		c := good
		change(&c)
		_, err := x.Keeper.Create(ctx, c)
		if !errors.Is(err, keeper.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	orphan := good
	orphan.SandboxID = "nobody"
	_, err := x.Keeper.Create(ctx, orphan)
	wantErr(t, err, keeper.ErrNotFound)
	_, err = x.Keeper.Start(ctx, "nobody")
	wantErr(t, err, keeper.ErrNotFound)
	check(t, x.Keeper.Remove(ctx, "nobody"))
}

func signals(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	check(t, x.Keeper.Signal(ctx, r.ID, 0, false))
	check(t, x.Keeper.Signal(ctx, r.ID, syscall.SIGKILL, true))
	st := must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
	if st.Signal != int(syscall.SIGKILL) {
		t.Fatalf("%+v", st)
	}
}

func removeKills(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	running, created := x.Request(t, sb, "running", "sleep", "1000"), x.Request(t, sb, "created", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, running))
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, created))
	check(t, x.Keeper.Remove(ctx, running.ID))
	check(t, x.Keeper.Remove(ctx, created.ID))
	for _, id := range []string{running.ID, created.ID} {
		_, err := x.Keeper.Container(ctx, id)
		wantErr(t, err, keeper.ErrNotFound)
	}
}

func stopSandboxKills(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r, created, broken := x.Request(t, sb, "c", "sleep", "1000"), x.Request(t, sb, "created", "sleep", "1000"), x.Request(t, sb, "broken", "no-such-command")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, created))
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, broken))
	check(t, x.Keeper.StopSandbox(ctx, sb.ID))
	st := must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
	if st.ExitCode != 137 {
		t.Fatalf("%+v", st)
	}
	for _, id := range []string{created.ID, broken.ID} { // what nobody asked to start did not fail to
		st := must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, id))
		if st.State != keeper.Exited || st.ExitCode != 137 || !st.StartedAt.IsZero() || st.StartError != "" {
			t.Fatalf("%+v", st)
		}
	}
	check(t, x.Keeper.RemoveSandbox(ctx, sb.ID))
	_, err := x.Keeper.Container(ctx, r.ID)
	wantErr(t, err, keeper.ErrNotFound)
}

func eventsInOrder(t *testing.T, x Target) {
	ctx, cancel := context.WithCancel(deadline(t))
	events := must[<-chan keeper.Event](t)(x.Keeper.Events(ctx))
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "true")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
	check(t, x.Keeper.Remove(ctx, r.ID))
	check(t, x.Keeper.RemoveSandbox(ctx, sb.ID))
	want := []string{"sandbox started", "container created", "container started", "container exited", "container removed",
		"sandbox exited", "sandbox removed"}
	var got []string
	for e := range events {
		switch {
		case e.At.IsZero():
			t.Fatalf("event without a time: %+v", e)
		case e.ContainerID == r.ID:
			got = append(got, "container "+e.Type)
		case e.SandboxID == sb.ID:
			got = append(got, "sandbox "+e.Type)
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
	cancel()
	for range events { // closed by the end of the context
	}
}

// ReadLog gives back what a stream of a CRI log file holds.
func ReadLog(t testing.TB, path, stream string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	check(t, err)
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			t.Fatalf("log line %.100q", line)
		}
		if _, err := time.Parse(time.RFC3339Nano, f[0]); err != nil {
			t.Fatal(err)
		}
		if f[1] != stream {
			continue
		}
		out.WriteString(f[3])
		if f[2] == "F" {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// Eventually waits until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %v not: %s", patience, what)
		}
	}
}

func logLines(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "echo", "hello", "world")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID))
	// Complete as soon as the end is known.
	if got := ReadLog(t, r.LogPath, "stdout"); got != "hello world\n" {
		t.Fatalf("log %q", got)
	}
}

func reopenLog(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "cat")
	r.Stdin = true
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	a := must[keeper.AttachSession](t)(x.Keeper.Attach(ctx, r.ID))
	defer a.Close()
	_, err := io.WriteString(a.Stdin(), "old\n")
	check(t, err)
	Eventually(t, "first line in the log", func() bool { return ReadLog(t, r.LogPath, "stdout") == "old\n" })
	check(t, os.Rename(r.LogPath, r.LogPath+".1"))
	check(t, x.Keeper.ReopenLog(ctx, r.ID))
	_, err = io.WriteString(a.Stdin(), "new\n")
	check(t, err)
	Eventually(t, "second line in the new log", func() bool { return ReadLog(t, r.LogPath, "stdout") == "new\n" })
	wantErr(t, x.Keeper.ReopenLog(ctx, "nobody"), keeper.ErrNotFound)
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	check(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func process(args ...string) *specs.Process {
	return &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}}
}

func execFiles(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	s := must[keeper.ExecSession](t)(x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("cat"), Stdin: inR, Stdout: outW}))
	defer s.Close()
	if s.PID() <= 0 || s.Terminal() != nil {
		t.Fatalf("pid %d, terminal %v", s.PID(), s.Terminal())
	}
	// The caller closes its copies, so that the ends are seen.
	check(t, inR.Close())
	check(t, outW.Close())
	_, err := inW.WriteString("through the process")
	check(t, err)
	check(t, inW.Close())
	if got := string(must[[]byte](t)(io.ReadAll(outR))); got != "through the process" {
		t.Fatalf("got %q", got)
	}
	if exit := must[keeper.ExitStatus](t)(s.Wait(ctx)); exit != (keeper.ExitStatus{}) {
		t.Fatalf("exit %+v", exit)
	}
	failing := must[keeper.ExecSession](t)(x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("false")}))
	defer failing.Close()
	if exit := must[keeper.ExitStatus](t)(failing.Wait(ctx)); exit.Code != 1 {
		t.Fatalf("exit %+v", exit)
	}
	if err := failing.Resize(keeper.WindowSize{Width: 80, Height: 24}); err == nil {
		t.Fatal("resized no terminal")
	}
}

func execErrors(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	_, err := x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("true")})
	wantErr(t, err, keeper.ErrNotRunning)
	must[keeper.ContainerStatus](t)(x.Keeper.Start(ctx, r.ID))
	_, err = x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("no-such-command")})
	var start *keeper.StartError
	if !errors.As(err, &start) || !strings.Contains(start.Message, `exec: "no-such-command": executable file not found in $PATH`) {
		t.Fatalf("got %v", err)
	}
	_, err = x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process()})
	wantErr(t, err, keeper.ErrInvalid)
	_, err = x.Keeper.Exec(ctx, keeper.Exec{ContainerID: "nobody", Process: process("true")})
	wantErr(t, err, keeper.ErrNotFound)
}

func execClose(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	outR, outW := pipe(t)
	s := must[keeper.ExecSession](t)(x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("sleep", "1000"), Stdout: outW}))
	check(t, outW.Close())
	check(t, s.Close())
	// The process held the write end: its end is the end of the stream.
	must[[]byte](t)(io.ReadAll(outR))
}

func execSignal(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	s := must[keeper.ExecSession](t)(x.Keeper.Exec(ctx, keeper.Exec{ContainerID: r.ID, Process: process("sleep", "1000")}))
	defer s.Close()
	check(t, s.Signal(syscall.SIGTERM))
	if exit := must[keeper.ExitStatus](t)(s.Wait(ctx)); exit.Code != 143 || exit.Signal != 15 {
		t.Fatalf("exit %+v", exit)
	}
}

func attach(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "cat")
	r.Stdin = true
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	_, err := x.Keeper.Attach(ctx, r.ID)
	wantErr(t, err, keeper.ErrNotRunning)
	must[keeper.ContainerStatus](t)(x.Keeper.Start(ctx, r.ID))
	one := must[keeper.AttachSession](t)(x.Keeper.Attach(ctx, r.ID))
	defer one.Close()
	two := must[keeper.AttachSession](t)(x.Keeper.Attach(ctx, r.ID))
	defer two.Close()
	if one.Stderr() == nil {
		t.Fatal("no stderr")
	}
	_, err = io.WriteString(one.Stdin(), "to all\n")
	check(t, err)
	for _, a := range []keeper.AttachSession{one, two} {
		buf := make([]byte, len("to all\n"))
		if _, err := io.ReadFull(a.Stdout(), buf); err != nil || string(buf) != "to all\n" {
			t.Fatalf("got %q, %v", buf, err)
		}
	}
	// Without StdinOnce the container outlives its client's end.
	check(t, one.Close())
	_, err = io.WriteString(two.Stdin(), "again\n")
	check(t, err)
	Eventually(t, "second line in the log", func() bool { return ReadLog(t, r.LogPath, "stdout") == "to all\nagain\n" })
	if err := two.Resize(keeper.WindowSize{Width: 80, Height: 24}); !errors.Is(err, keeper.ErrInvalid) {
		t.Fatalf("resize without a terminal: %v", err)
	}
	check(t, x.Keeper.Signal(ctx, r.ID, syscall.SIGKILL, false))
	must[[]byte](t)(io.ReadAll(two.Stdout())) // ends with the container
}

func attachStdinOnce(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "cat")
	r.Stdin, r.StdinOnce = true, true
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	a := must[keeper.AttachSession](t)(x.Keeper.Attach(ctx, r.ID))
	defer a.Close()
	_, err := io.WriteString(a.Stdin(), "once\n")
	check(t, err)
	check(t, a.Stdin().Close())
	if got := string(must[[]byte](t)(io.ReadAll(a.Stdout()))); got != "once\n" {
		t.Fatalf("got %q", got)
	}
	if st := must[keeper.ContainerStatus](t)(x.Keeper.Wait(ctx, r.ID)); st.ExitCode != 0 {
		t.Fatalf("%+v", st)
	}
}

func updateAndStats(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	shares := uint64(512)
	update := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}}
	wantErr(t, x.Keeper.UpdateResources(ctx, r.ID, update), keeper.ErrNotRunning)
	must[keeper.ContainerStatus](t)(x.Keeper.Start(ctx, r.ID))
	check(t, x.Keeper.UpdateResources(ctx, r.ID, update))
	all := must[[]keeper.Stats](t)(x.Keeper.Stats(ctx, "nobody", r.ID))
	if len(all) != 1 || all[0].ID != r.ID || all[0].At.IsZero() {
		t.Fatalf("stats %+v", all)
	}
	all = must[[]keeper.Stats](t)(x.Keeper.Stats(ctx))
	if !slices.ContainsFunc(all, func(s keeper.Stats) bool { return s.ID == r.ID }) {
		t.Fatalf("stats of all: %+v", all)
	}
}

func meta(t *testing.T, x Target) {
	ctx := deadline(t)
	sb := x.Sandbox(t, func(s *keeper.Sandbox) { s.Meta = json.RawMessage(`{"pod":"p"}`) })
	r := x.Request(t, sb, "c", "true")
	r.Meta = json.RawMessage(`{"attempt":3}`)
	must[keeper.ContainerStatus](t)(x.Keeper.Create(ctx, r))
	if st := must[keeper.SandboxStatus](t)(x.Keeper.Sandbox(ctx, sb.ID)); string(st.Meta) != `{"pod":"p"}` {
		t.Fatalf("sandbox meta %s", st.Meta)
	}
	if st := must[keeper.ContainerStatus](t)(x.Keeper.Container(ctx, r.ID)); string(st.Meta) != `{"attempt":3}` {
		t.Fatalf("container meta %s", st.Meta)
	}
}

func cancelledContext(t *testing.T, x Target) {
	ctx, cancel := context.WithCancel(context.Background())
	sb := x.Sandbox(t)
	r := x.Request(t, sb, "c", "sleep", "1000")
	must[keeper.ContainerStatus](t)(x.Keeper.Run(ctx, r))
	waited := make(chan error)
	go func() {
		_, err := x.Keeper.Wait(ctx, r.ID)
		waited <- err
	}()
	cancel()
	wantErr(t, <-waited, context.Canceled)
	_, err := x.Keeper.Containers(ctx)
	wantErr(t, err, context.Canceled)
	// and the next call is served
	must[keeper.ContainerStatus](t)(x.Keeper.Container(deadline(t), r.ID))
}

func version(t *testing.T, x Target) {
	v := must[keeper.Version](t)(x.Keeper.Version(deadline(t)))
	if v.Protocol != keeper.Protocol || v.PID <= 0 || v.Started.IsZero() {
		t.Fatalf("%+v", v)
	}
}
