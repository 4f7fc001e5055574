package critests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Target is a runtime under test.
type Target struct {
	Socket string // of the CRI, a path
	// Image is present and has the programs of busybox; ImageUser is the same
	// with a user "tester" (uid 1000, gid 1001, also in group 1002), who is its
	// default; it may be empty.
	Image, ImageUser string
	// CgroupParent is a folder below the cgroup root where groups may be made.
	CgroupParent string
	// Kernel: containers are real processes.
	Kernel bool
	// Without names tests that the target can't pass, each with the reason.
	Without map[string]string
	// Restart ends the runtime's service and starts it again on the same socket,
	// while containers go on; nil where that can't be.
	Restart func(t testing.TB)
}

// deadline is how long anything may take before a test gives up; it is no
// measure of what is fast.
const deadline = 60 * time.Second

// suite is one run of the tests over a target.
type suite struct {
	Target
	conn *grpc.ClientConn
	rt   runtimeapi.RuntimeServiceClient
}

var podCount atomic.Int64

// Run runs all tests over the target.
func Run(t *testing.T, target Target) {
	s := &suite{Target: target}
	s.dial(t)
	t.Cleanup(func() { s.conn.Close() })
	for _, test := range []struct {
		name   string
		kernel bool
		run    func(t *testing.T, s *suite)
	}{
		{"Version", false, testVersion},
		{"Status", false, testStatus},
		{"SandboxLifecycle", false, testSandboxLifecycle},
		{"SandboxNames", false, testSandboxNames},
		{"SandboxRefused", false, testSandboxRefused},
		{"SandboxFilters", false, testSandboxFilters},
		{"ContainerLifecycle", false, testContainerLifecycle},
		{"ContainerRefused", false, testContainerRefused},
		{"ContainerFilters", false, testContainerFilters},
		{"ExitCodes", false, testExitCodes},
		{"StartError", false, testStartError},
		{"StopObeyed", false, testStopObeyed},
		{"StopIgnored", false, testStopIgnored},
		{"StopSignal", false, testStopSignal},
		{"StopAtOnce", false, testStopAtOnce},
		{"RemoveRunning", false, testRemoveRunning},
		{"SandboxStopKills", false, testSandboxStopKills},
		{"ParallelStarts", false, testParallelStarts},
		{"Logs", false, testLogs},
		{"LogReopen", false, testLogReopen},
		{"ExecSync", false, testExecSync},
		{"ExecSyncTimeout", false, testExecSyncTimeout},
		{"ExecSyncRefused", false, testExecSyncRefused},
		{"ExecSyncOutputLimit", true, testExecSyncOutputLimit},
		{"ExecSyncBackgroundChild", true, testExecSyncBackgroundChild},
		{"ExecStream", false, testExecStream},
		{"ExecStreamTTY", true, testExecStreamTTY},
		{"Attach", false, testAttach},
		{"PortForward", true, testPortForward},
		{"Events", false, testEvents},
		{"Stats", false, testStats},
		{"Metrics", false, testMetrics},
		{"StreamedLists", false, testStreamedLists},
		{"UpdateResources", false, testUpdateResources},
		{"Process", true, testProcess},
		{"Users", true, testUsers},
		{"Capabilities", true, testCapabilities},
		{"Privileged", true, testPrivileged},
		{"Seccomp", true, testSeccomp},
		{"MaskedPaths", true, testMaskedPaths},
		{"ReadonlyRootfs", true, testReadonlyRootfs},
		{"Namespaces", true, testNamespaces},
		{"TargetPID", true, testTargetPID},
		{"SharedMemory", true, testSharedMemory},
		{"UserNamespace", true, testUserNamespace},
		{"Sysctls", true, testSysctls},
		{"Limits", true, testLimits},
		{"OOMKill", true, testOOMKill},
		{"DNSAndHostname", true, testDNSAndHostname},
		{"Mounts", true, testMounts},
		{"MountRefused", true, testMountRefused},
		{"Propagation", true, testPropagation},
		{"ImageVolume", true, testImageVolume},
		{"Devices", true, testDevices},
		{"Restart", false, testRestart},
	} {
		if test.kernel && !s.Kernel || test.name == "Restart" && s.Restart == nil || s.Without[test.name] != "" {
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

func (s *suite) dial(t testing.TB) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+s.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	s.conn, s.rt = conn, runtimeapi.NewRuntimeServiceClient(conn)
}

// restart restarts the service and dials it anew.
func (s *suite) restart(t testing.TB) {
	t.Helper()
	s.conn.Close()
	s.Restart(t)
	s.dial(t)
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// must returns the answer of a call that may not fail.
func must[R any](resp R, err error) func(t testing.TB) R {
	return func(t testing.TB) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
}

func wantCode(t testing.TB, err error, want codes.Code, what string) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: code %s (%v), want %s", what, got, err, want)
	}
}

// pod is a sandbox of a test, removed at its end.
type pod struct {
	*suite
	t      testing.TB
	id     string
	config *runtimeapi.PodSandboxConfig
}

// podConfig is a plain pod as a node agent asks for it.
func (s *suite) podConfig(t testing.TB) *runtimeapi.PodSandboxConfig {
	n := podCount.Add(1)
	name := strings.ToLower(strings.ReplaceAll(filepath.Base(t.Name()), "_", "-"))
	uid := fmt.Sprintf("%d-%d", os.Getpid(), n)
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "critests", Uid: uid},
		Hostname:     name,
		LogDirectory: t.TempDir(),
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{"critests.svc.cluster.local", "svc.cluster.local"}, Options: []string{"ndots:5"}},
		Labels:       map[string]string{"app": name, "suite": "critests"},
		Annotations:  map[string]string{"note": "kept as it is"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: filepath.Join(s.CgroupParent, "pod"+uid),
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{
				Pid: runtimeapi.NamespaceMode_CONTAINER,
			}},
		},
	}
}

func (s *suite) pod(t testing.TB, change ...func(*runtimeapi.PodSandboxConfig)) *pod {
	t.Helper()
	config := s.podConfig(t)
	for _, c := range change {
		c(config)
	}
	p := &pod{suite: s, t: t, config: config}
	p.id = must(s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: config}))(t).PodSandboxId
	t.Cleanup(p.remove)
	return p
}

func (p *pod) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := p.rt.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.t.Errorf("stop pod: %v", err)
	}
	if _, err := p.rt.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.t.Errorf("remove pod: %v", err)
	}
}

func (p *pod) status() *runtimeapi.PodSandboxStatusResponse {
	p.t.Helper()
	return must(p.rt.PodSandboxStatus(within(p.t), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id}))(p.t)
}

// idle is a command that runs until it is killed; PID 1 of a namespace obeys no
// TERM without a handler.
const idle = "while :; do sleep 0.05; done"

// containerConfig runs a shell script.
func (p *pod) containerConfig(name, script string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: name},
		Image:       &runtimeapi.ImageSpec{Image: p.Image, UserSpecifiedImage: p.Image},
		Command:     []string{"sh", "-c", script},
		LogPath:     name + "/0.log",
		Labels:      map[string]string{"container": name},
		Annotations: map[string]string{"hash": "12345"},
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       &runtimeapi.LinuxContainerResources{},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions},
		},
	}
}

func (p *pod) create(config *runtimeapi.ContainerConfig) (string, error) {
	resp, err := p.rt.CreateContainer(within(p.t), &runtimeapi.CreateContainerRequest{PodSandboxId: p.id, Config: config, SandboxConfig: p.config})
	return resp.GetContainerId(), err
}

func (p *pod) start(id string) error {
	_, err := p.rt.StartContainer(within(p.t), &runtimeapi.StartContainerRequest{ContainerId: id})
	return err
}

type change = func(*runtimeapi.ContainerConfig)

// run creates and starts a container.
func (p *pod) run(name, script string, changes ...change) string {
	p.t.Helper()
	config := p.containerConfig(name, script)
	for _, c := range changes {
		c(config)
	}
	id, err := p.create(config)
	if err != nil {
		p.t.Fatalf("create %s: %v", name, err)
	}
	if err := p.start(id); err != nil {
		p.t.Fatalf("start %s: %v", name, err)
	}
	return id
}

// output runs a script to its end and returns what it printed to either stream.
func (p *pod) output(name, script string, changes ...change) string {
	p.t.Helper()
	config := p.containerConfig(name, script)
	id := p.run(name, script, changes...)
	st := p.exited(id)
	out := p.log(config.LogPath)
	if st.ExitCode != 0 {
		p.t.Logf("%s ended with %d: %s", name, st.ExitCode, out)
	}
	return strings.TrimSpace(out)
}

func (p *pod) container(id string) *runtimeapi.ContainerStatus {
	p.t.Helper()
	return must(p.rt.ContainerStatus(within(p.t), &runtimeapi.ContainerStatusRequest{ContainerId: id}))(p.t).Status
}

// exited waits for the end of a container.
func (p *pod) exited(id string) *runtimeapi.ContainerStatus {
	p.t.Helper()
	var st *runtimeapi.ContainerStatus
	eventually(p.t, "the container ends", func() bool {
		st = p.container(id)
		return st.State == runtimeapi.ContainerState_CONTAINER_EXITED
	})
	return st
}

func (p *pod) stop(id string, timeout int64) {
	p.t.Helper()
	must(p.rt.StopContainer(within(p.t), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: timeout}))(p.t)
}

func (p *pod) exec(id string, cmd ...string) *runtimeapi.ExecSyncResponse {
	p.t.Helper()
	return must(p.rt.ExecSync(within(p.t), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: cmd, Timeout: 30}))(p.t)
}

// sh is the standard output of a script run in a container.
func (p *pod) sh(id, script string) string {
	p.t.Helper()
	r := p.exec(id, "sh", "-c", script)
	if r.ExitCode != 0 {
		p.t.Errorf("%q ended with %d: %s%s", script, r.ExitCode, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// entry is one line of a CRI log file.
type entry struct{ stamp, stream, tag, text string }

func (p *pod) entries(logPath string) []entry {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.config.LogDirectory, logPath))
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	var out []entry
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			p.t.Fatalf("log line %q has %d fields", line, len(f))
		}
		out = append(out, entry{f[0], f[1], f[2], f[3]})
	}
	return out
}

func (p *pod) log(logPath string) string {
	var b strings.Builder
	for _, e := range p.entries(logPath) {
		b.WriteString(e.text)
		if e.tag == "F" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}
