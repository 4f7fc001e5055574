package crifake

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/critests"
)

// TestConformance runs the tests of real runtimes over the fake: what drives it
// must find what it will find in earnest.
func TestConformance(t *testing.T) {
	r := New(Config{})
	r.AddImage("busybox", Image{})
	r.ScriptFunc(scripted)
	stop, err := r.ServeStreams(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	dir, err := os.MkdirTemp("", "crifake") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(srv, r)
	runtimeapi.RegisterImageServiceServer(srv, r)
	go srv.Serve(ln)
	t.Cleanup(srv.Stop)
	critests.Run(t, critests.Target{
		Socket: socket, Image: "docker.io/library/busybox:latest", CgroupParent: "/fake",
		Without: map[string]string{
			"LogReopen": "programs print at their start only",
			"Attach":    "a program's streams don't reach its log",
		},
	})
}

var (
	exits  = regexp.MustCompile(`(?:^|; )exit (\d+)$`)
	sleeps = regexp.MustCompile(`^sleep ([0-9.]+); `)
	traps  = regexp.MustCompile(`trap 'exit (\d+)' (TERM|USR1)`)
)

// scripted turns the shell scripts of the conformance tests into programs.
func scripted(c *runtimeapi.ContainerConfig) (Program, bool) {
	script := c.Command[len(c.Command)-1]
	p := Program{Exec: execScript, TermCode: 143}
	if c.Command[0] == "no-such-command" {
		return Program{StartError: fmt.Errorf(`exec: "no-such-command": executable file not found in $PATH`)}, true
	}
	for _, cmd := range strings.Split(script, "; ") {
		if text, ok := strings.CutPrefix(cmd, "echo "); ok {
			if text, ok := strings.CutSuffix(text, " >&2"); ok {
				p.Stderr = append(p.Stderr, text)
			} else {
				p.Stdout = append(p.Stdout, text)
			}
		}
	}
	if m := exits.FindStringSubmatch(script); m != nil {
		code, _ := strconv.Atoi(m[1])
		p.ExitCode, p.ExitAtOnce = int32(code), true
	}
	if m := sleeps.FindStringSubmatch(script); m != nil {
		seconds, _ := strconv.ParseFloat(m[1], 64)
		p.ExitAfter, p.ExitAtOnce = time.Duration(seconds*float64(time.Second)), false
	}
	if !strings.Contains(script, "while") {
		p.ExitAtOnce = p.ExitAfter == 0
	}
	want := map[bool]string{false: "TERM", true: "USR1"}[c.StopSignal == runtimeapi.Signal_SIGNAL_SIGUSR1]
	for _, m := range traps.FindAllStringSubmatch(script, -1) {
		if m[2] == want {
			code, _ := strconv.Atoi(m[1])
			p.TermCode = int32(code)
		}
	}
	p.IgnoreTerm = strings.Contains(script, "trap '' TERM")
	p.Stream = func(ctx context.Context, cmd []string, in io.Reader, out, errOut io.Writer) int {
		if len(cmd) == 1 && cmd[0] == "cat" {
			io.Copy(out, in)
			return 0
		}
		res := execScript(ctx, cmd)
		io.WriteString(out, res.Stdout)
		io.WriteString(errOut, res.Stderr)
		return int(res.Code)
	}
	return p, true
}

func execScript(ctx context.Context, cmd []string) ExecResult {
	switch cmd[0] {
	case "true":
		return ExecResult{}
	case "sleep":
		<-ctx.Done()
		return ExecResult{Code: 137}
	case "sh":
		p, _ := scripted(&runtimeapi.ContainerConfig{Command: cmd})
		lines := func(l []string) string {
			if len(l) == 0 {
				return ""
			}
			return strings.Join(l, "\n") + "\n"
		}
		return ExecResult{Stdout: lines(p.Stdout), Stderr: lines(p.Stderr), Code: p.ExitCode}
	}
	return ExecResult{Err: fmt.Errorf(`exec: %q: executable file not found in $PATH`, cmd[0])}
}
