package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/runtime/images"
)

// proaRuntime is a `proa runtime` with a data folder of its own.
type proaRuntime struct {
	endpoint string
	binary   string
	data     string
	cmd      *exec.Cmd
}

// startRuntime runs proa's runtime with one registry in place of all others.
func startRuntime(ctx context.Context, registry string) (*proaRuntime, error) {
	binary, err := filepath.Abs("bin/proa")
	if err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("/var/tmp", "proa-critest-")
	if err != nil {
		return nil, err
	}
	r := &proaRuntime{binary: binary, data: data}
	if err := r.start(ctx, registry); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *proaRuntime) start(ctx context.Context, registry string) error {
	mirrors := images.Registries{Registries: map[string]images.Registry{}}
	for _, host := range registries {
		mirrors.Registries[host] = images.Registry{Mirrors: []string{"http://" + registry}, MirrorOnly: true}
	}
	text, err := yaml.Marshal(mirrors)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.data, "registries.yaml"), text, 0o600); err != nil {
		return err
	}
	r.cmd = exec.CommandContext(ctx, r.binary, "runtime", "--data-dir", r.data)
	r.cmd.Stderr = os.Stderr
	said, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() {
		return errors.Join(errors.New("the runtime did not start"), lines.Err())
	}
	r.endpoint = strings.TrimSpace(lines.Text())
	return nil
}

// stop ends the runtime and removes all that it made.
func (r *proaRuntime) stop() {
	out, err := exec.Command(r.binary, "down", "--purge", "--data-dir", r.data).CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "clean up: %v\n%s", err, out)
	}
	if r.cmd != nil && r.cmd.Process != nil {
		_ = r.cmd.Wait() // it was told to end
	}
}
