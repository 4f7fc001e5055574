// Package assets makes what a run of the suite needs and that depends on nothing
// but the suite's version: its test program, kubectl, and its images. All is kept
// in a cache that the user's checkouts share.
package assets

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Assets of one version of the suite.
type Assets struct {
	Version  string // of Kubernetes
	Programs string // folder of e2e.test and kubectl
	Images   string // an OCI layout of all images, by the suite's names
}

// E2E is the suite's test program.
func (a Assets) E2E() string { return filepath.Join(a.Programs, "e2e.test") }

// Kubectl is that of the suite's version.
func (a Assets) Kubectl() string { return filepath.Join(a.Programs, "kubectl") }

//go:embed recipes.go
var recipeText string

// Config says where the module and the cache are.
type Config struct {
	Module string // folder of this module
	Cache  string
	Log    io.Writer // told what is being made
}

// Make makes what is missing. Another process that makes the same is waited for.
func Make(ctx context.Context, c Config) (Assets, error) {
	b := &builder{Config: c}
	if err := b.find(ctx); err != nil {
		return Assets{}, err
	}
	unlock, err := b.lock()
	if err != nil {
		return Assets{}, err
	}
	defer unlock()
	a := Assets{Version: b.version, Programs: b.programs(), Images: filepath.Join(b.cache, "images-"+digest(recipeText))}
	steps := []struct {
		path string
		make func(context.Context, string) error
	}{
		{a.E2E(), b.makeE2E},
		{filepath.Join(a.Programs, "pause"), b.makePrograms}, // the last one that it makes
		{filepath.Join(a.Programs, "busybox"), b.makeBusybox},
		{a.Images, b.makeImages},
	}
	for _, s := range steps {
		if err := once(ctx, s.path, s.make); err != nil {
			return a, err
		}
	}
	return a, nil
}

// once makes path unless it is there; a half-made one is never seen under its name.
func once(ctx context.Context, path string, make func(context.Context, string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	partial := path + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := make(ctx, partial); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// digest is a short name for content.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

type builder struct {
	Config
	version string
	source  string // folder of k8s.io/kubernetes
	cache   string // of this version and these dependencies
}

func (b *builder) programs() string { return filepath.Join(b.cache, "programs") }

// find learns which version the module asks for, and where its source is.
func (b *builder) find(ctx context.Context) error {
	cmd := b.command(ctx, "go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", "k8s.io/kubernetes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var ok bool
	if b.version, b.source, ok = strings.Cut(strings.TrimSpace(string(out)), " "); !ok || b.source == "" {
		return fmt.Errorf("go list: no source of k8s.io/kubernetes %s: run `go mod download` in %s", b.version, b.Module)
	}
	sums, err := os.ReadFile(filepath.Join(b.Module, "go.sum"))
	if err != nil {
		return err
	}
	b.cache = filepath.Join(b.Cache, b.version+"-"+digest(string(sums)))
	return os.MkdirAll(b.programs(), 0o755)
}

func (b *builder) lock() (func(), error) {
	f, err := os.Create(filepath.Join(b.cache, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// command in a process group of its own: when ctx ends, what it has started ends too.
func (b *builder) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = b.Module
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return cmd
}

// run a program that makes what; its output is shown only when it fails.
func (b *builder) run(ctx context.Context, what, program string, args ...string) error {
	fmt.Fprintf(b.Log, "making %s …\n", what)
	cmd := b.command(ctx, program, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // static: they run in images without libraries
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %s: %w\n%s", what, program, err, out.String())
	}
	return nil
}
