// Command proa-keeper is the parent of every container of a node. See package
// internal/runtime/keeper/server for what it does; proa starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper/server"
	"github.com/proa-project/proa/internal/runtime/oci"
)

// version is set by the linker.
var version = "dev"

// init runs on the main thread. A container's process goes its own way here.
// The keeper's main goroutine stays on the main thread: threads that enter
// namespaces are thrown away, and that one can't be.
func init() {
	oci.Init()
	runtime.LockOSThread()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "proa-keeper:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := server.Config{Version: version}
	handover := flag.Int(server.HandoverFlag[1:], -1, "descriptor of what an older keeper left (set by an upgrade)")
	check := flag.Bool(server.CheckFlag[1:], false, "print the protocol that this keeper speaks, and end")
	ready := flag.Int("ready-fd", -1, "descriptor that is closed when the socket is served")
	flag.StringVar(&cfg.Run, "run", "", "run folder, where the socket and the state are")
	flag.StringVar(&cfg.Pause, "pause", "", "path of the pause program")
	flag.StringVar(&cfg.Cgroup, "cgroup", "", "own cgroup, below every controller's root")
	flag.IntVar(&cfg.Pool, "pool", 2, "blank sandboxes in stock")
	flag.Parse()
	if *check {
		fmt.Println(server.CheckAnswer())
		return nil
	}
	if cfg.Run == "" || cfg.Pause == "" || flag.NArg() > 0 {
		return errors.New("usage: proa-keeper -run FOLDER -pause PROGRAM [-pool N]")
	}
	// A start leaves its weight in garbage; an idle keeper is given back by
	// the server's idle collection.
	debug.SetGCPercent(50)
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg.Args = []string{os.Args[0], "-run", cfg.Run, "-pause", cfg.Pause, "-pool", fmt.Sprint(cfg.Pool), "-cgroup", cfg.Cgroup}
	cfg.Env = os.Environ()
	// The last to go when memory runs out. Containers get their own score; pauses
	// keep this one. Without the privilege for it we stay an ordinary process.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0o644)
	if *handover >= 0 {
		h, err := server.ReadHandover(*handover)
		if err != nil {
			return err
		}
		cfg.Handover = h
	}
	oci.RaiseLimits()
	backend, err := oci.New(cfg.Run + "/keeper/oci")
	if err != nil {
		return err
	}
	cfg.Runtime = adapter{backend}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	if *ready >= 0 {
		_ = syscall.Close(*ready)
	}
	return s.Run(ctx)
}

// adapter gives the libcontainer back end the server's types.
type adapter struct{ *oci.Runtime }

var _ server.Runtime = adapter{}

func (a adapter) Prepare(id string, spec *specs.Spec, io server.Stdio) (int, *os.File, error) {
	return a.Runtime.Prepare(id, spec, oci.Stdio(io))
}

func (a adapter) Exec(id string, p *specs.Process, io server.Stdio) (int, *os.File, error) {
	return a.Runtime.Exec(id, p, oci.Stdio(io))
}
