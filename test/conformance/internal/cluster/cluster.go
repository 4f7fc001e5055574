// Package cluster is the proa that the suite judges: the built binary, driven from
// outside as a user drives it.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Cluster in a data folder.
type Cluster struct {
	Binary string // bin/proa
	Data   string
	Two    bool // nodes instead of one
	Log    io.Writer
}

// Kubeconfig of the administrator.
func (c Cluster) Kubeconfig() string { return filepath.Join(c.Data, "kubeconfig") }

// Version of the binary.
func (c Cluster) Version(ctx context.Context) (string, error) {
	out, err := c.proa(ctx, "--version")
	return strings.TrimSpace(strings.TrimPrefix(out, "proa version ")), err
}

// Hold the cluster until release: alone, or together with others that mean to keep it.
func (c Cluster) Hold(alone bool) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.Data), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.Data+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another run uses the cluster in %s", c.Data)
	}
	return func() { f.Close() }, nil
}

// Up starts the cluster. A kept one runs on, with the binary as it is now; else
// what an earlier run left behind goes first.
func (c Cluster) Up(ctx context.Context, keep bool) error {
	if !keep {
		if err := c.second().purge(ctx); err != nil { // it may be left without the first
			return err
		}
	}
	_, err := os.Stat(c.Data)
	found := err == nil
	switch {
	case found && !keep:
		if err := c.Purge(ctx); err != nil {
			return err
		}
		found = false
	case found && c.outdated():
		fmt.Fprintln(c.Log, "bin/proa is newer than the cluster: starting it again …")
		if err := c.second().down(ctx); err != nil {
			return err
		}
		if _, err := c.proa(ctx, "down", "--data-dir", c.Data); err != nil {
			return err
		}
	}
	args := []string{"up", "--data-dir", c.Data}
	if !found {
		port, err := freePort()
		if err != nil {
			return err
		}
		args = append(args, "--api-port", fmt.Sprint(port))
	}
	if _, err := c.proa(ctx, args...); err != nil {
		return err
	}
	if c.Two {
		if err := c.second().up(ctx); err != nil {
			return err
		}
	}
	return c.stamp("binary", c.identity())
}

// Import the images of an OCI layout, unless they are there.
func (c Cluster) Import(ctx context.Context, layout string) error {
	if c.stamped("images") == layout {
		return nil
	}
	fmt.Fprintln(c.Log, "importing the images …")
	if _, err := c.proa(ctx, "image", "import", layout, "--data-dir", c.Data); err != nil {
		return err
	}
	if c.Two {
		if err := c.second().proa(ctx, "image", "import", layout); err != nil {
			return err
		}
	}
	return c.stamp("images", layout)
}

// PullFrom makes the registry at a port of this machine stand for all others.
func (c Cluster) PullFrom(port int) error {
	if c.Two {
		s := c.second()
		if err := pullFrom(s.data, s.host.String(), port); err != nil {
			return err
		}
	}
	return pullFrom(c.Data, "127.0.0.1", port)
}

func pullFrom(data, host string, port int) error {
	config := fmt.Sprintf("registries:\n  \"*\":\n    mirrors: [\"http://%s:%d\"]\n    mirrorOnly: true\n", host, port)
	return os.WriteFile(filepath.Join(data, "registries.yaml"), []byte(config), 0o600)
}

// Purge ends the cluster and removes all of it.
func (c Cluster) Purge(ctx context.Context) error {
	if err := c.second().purge(ctx); err != nil {
		return err
	}
	_, err := c.proa(ctx, "down", "--purge", "--data-dir", c.Data)
	return err
}

func (c Cluster) proa(ctx context.Context, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, c.Binary, args...))
}

// output of a command on both outputs; an error tells it too.
func output(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return out.String(), nil
}

// outdated says that the cluster was started with another binary.
func (c Cluster) outdated() bool { return c.stamped("binary") != c.identity() }

func (c Cluster) identity() string {
	var id []string
	for _, program := range []string{c.Binary, c.Binary + "-keeper"} {
		if info, err := os.Stat(program); err == nil {
			id = append(id, fmt.Sprint(info.Size(), info.ModTime().UnixNano()))
		}
	}
	return strings.Join(id, " ")
}

// Stamps beside the data folder's own files remember what was done to it.
func (c Cluster) stamp(what, value string) error {
	return os.WriteFile(c.stampFile(what), []byte(value), 0o644)
}

func (c Cluster) stamped(what string) string {
	data, err := os.ReadFile(c.stampFile(what))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return string(data)
}

func (c Cluster) stampFile(what string) string {
	return filepath.Join(c.Data, "conformance-"+what)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
