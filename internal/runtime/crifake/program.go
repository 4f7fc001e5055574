package crifake

import (
	"context"
	"io"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Program is what a container does once started. The zero Program runs until it
// is told to stop and obeys a TERM at once.
type Program struct {
	// StartError fails StartContainer; the container is then Exited with code
	// 128, as with a command that does not exist.
	StartError error
	// ExitAfter ends the container by itself this long after its start, with
	// ExitCode; zero means never, unless ExitAtOnce.
	ExitAfter  time.Duration
	ExitAtOnce bool
	ExitCode   int32
	// OOM makes that end an out-of-memory kill: code 137, reason OOMKilled.
	OOM bool
	// IgnoreTerm leaves the container running until the KILL.
	IgnoreTerm bool
	// TermAfter is how long it takes to end after a TERM, with TermCode.
	TermAfter time.Duration
	TermCode  int32 // 0 is a clean end
	// Stdout and Stderr are lines written to the log file at the start.
	Stdout, Stderr []string
	// Message is written to the termination message file (the mount of a host
	// file at TerminationPath) when the container ends by itself.
	Message         string
	TerminationPath string // default /dev/termination-log
	// Exec answers ExecSync, and streaming exec unless Stream is set; nil
	// succeeds with no output.
	Exec func(ctx context.Context, cmd []string) ExecResult
	// Stream serves a streaming exec (cmd != nil) or attach (cmd nil).
	Stream func(ctx context.Context, cmd []string, in io.Reader, out, err io.Writer) (code int)
	// Stats overrides what the container is said to use.
	Stats Stats
}

// ExecResult is a finished command; Err fails the call itself (as when the
// command does not exist). A TimedOut command is what its timeout killed.
type ExecResult struct {
	Stdout, Stderr string
	Code           int32
	Err            error
	TimedOut       bool
}

// Stats is a container's use of resources.
type Stats struct {
	CPUNanos, WorkingSetBytes, RSSBytes, DiskBytes, Inodes uint64
}

// Script sets the programs of a container name or an image: the first start
// takes the first, the last repeats. Start counts begin anew.
func (r *Runtime) Script(nameOrImage string, programs ...Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scripts[nameOrImage] = programs
	r.runs[nameOrImage] = 0
}

// ScriptFunc sets a function that is asked first for the program of a container
// that starts; false passes on to the scripts. It must not call the Runtime.
func (r *Runtime) ScriptFunc(f func(*runtimeapi.ContainerConfig) (Program, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scriptFunc = f
}

// ScriptDefault is the program of everything that has no script.
func (r *Runtime) ScriptDefault(p Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.defaultRun = p
}

// program picks the next run of a container; r.mu is held.
func (r *Runtime) program(c *container) Program {
	cfg := c.config
	if r.scriptFunc != nil {
		if p, ok := r.scriptFunc(cfg); ok {
			return p
		}
	}
	keys := []string{cfg.GetMetadata().GetName(), cfg.GetImage().GetUserSpecifiedImage(), cfg.GetImage().GetImage()}
	for _, key := range keys {
		if ps := r.scripts[key]; key != "" && len(ps) > 0 {
			n := min(r.runs[key], len(ps)-1)
			r.runs[key]++
			return ps[n]
		}
	}
	return r.defaultRun
}
