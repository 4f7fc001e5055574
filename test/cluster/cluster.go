// Package cluster starts real clusters for tests and benchmarks: the built
// bin/proa, in a temporary data folder, on free ports, with everything removed at
// the end.
//
// A second node of a cluster runs on the same host in a network namespace of its
// own, a Machine:
//
//	machine, err := cluster.NewMachine("second") // and machine.Remove() after all
//	second, err := cluster.New(dir)
//	second.Machine = machine
//	err = second.Join(ctx, first, "second")     // returns when the node is Ready
//	err = second.Down(ctx, true)
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/kit/checkout"
	"github.com/proa-project/proa/internal/kit/layout"
)

// Cluster is a proa of its own.
type Cluster struct {
	Binary string // bin/proa
	Data   string
	Port   int
	Args   []string // more flags of `proa up`
	// Manifests is the folder of static pods, and not the machine's own one.
	Manifests string
	// Machine that it runs on; nil: the host itself.
	Machine *Machine
}

// New settles on a data folder below dir and a free port; nothing runs yet.
func New(dir string) (*Cluster, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("a cluster needs root: run with sudo")
	}
	binary := os.Getenv("PROA_BIN")
	if binary == "" {
		root, err := checkout.Root()
		if err != nil {
			return nil, err
		}
		binary = filepath.Join(root, "bin", "proa")
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w; run `make build` first", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c := &Cluster{Binary: binary, Data: filepath.Join(dir, "data"), Port: l.Addr().(*net.TCPAddr).Port, Manifests: filepath.Join(dir, "manifests")}
	c.Args = []string{"--pod-manifest-path", c.Manifests}
	return c, os.MkdirAll(c.Manifests, 0o755)
}

// ID is in the name of everything that the kernel sees of the cluster.
func (c *Cluster) ID() string {
	l, err := layout.For(c.Data)
	if err != nil {
		return ""
	}
	return l.ID
}

// Proa runs a command of the binary against this cluster and returns what it
// printed on both outputs.
func (c *Cluster) Proa(ctx context.Context, args ...string) (string, error) {
	return c.command(ctx, nil, append(args, "--data-dir", c.Data)...)
}

// Kubectl runs the kubectl that is built in.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.command(ctx, nil, append([]string{"kubectl", "--data-dir=" + c.Data}, args...)...)
}

// Apply gives kubectl a manifest.
func (c *Cluster) Apply(ctx context.Context, manifest string) (string, error) {
	return c.command(ctx, []byte(manifest), "kubectl", "--data-dir="+c.Data, "apply", "-f", "-")
}

func (c *Cluster) command(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := c.Machine.Command(ctx, c.Binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(c.Data, "kubeconfig"))
	cmd.Stdin = bytes.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("proa %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// Up starts the cluster, or the node that has joined one, and returns when its
// node is Ready.
func (c *Cluster) Up(ctx context.Context) error {
	args := append([]string{"up"}, c.Args...)
	if c.Machine == nil {
		args = append(args, "--api-port", fmt.Sprint(c.Port))
	}
	if _, err := c.Proa(ctx, args...); err != nil {
		log, _ := os.ReadFile(filepath.Join(c.Data, "log", "proa.log"))
		return fmt.Errorf("%w\nThe log ends with:\n%s", err, log[max(0, len(log)-4096):])
	}
	return nil
}

// Join makes this a node of another cluster, by the command that its server prints,
// and returns when it is Ready. It needs a Machine, whose link to the host is the
// way to the server.
func (c *Cluster) Join(ctx context.Context, server *Cluster, node string) error {
	printed, err := server.Proa(ctx, "token", "create", "--server", fmt.Sprintf("https://%s:%d", c.Machine.Host, server.Port))
	if err != nil {
		return err
	}
	_, command, found := strings.Cut(printed, "proa join ")
	if !found {
		return fmt.Errorf("proa token create printed no command: %s", printed)
	}
	args := append([]string{"join", "--node-name", node}, strings.Fields(command)...)
	_, err = c.Proa(ctx, append(args, c.Args...)...)
	return err
}

// Down stops it; with purge it also removes its data.
func (c *Cluster) Down(ctx context.Context, purge bool) error {
	args := []string{"down"}
	if purge {
		args = append(args, "--purge")
	}
	_, err := c.Proa(ctx, args...)
	return err
}

// Status is what `proa status -o json` says; a cluster that is not ready is no error.
func (c *Cluster) Status(ctx context.Context) (control.Status, error) {
	cmd := c.Machine.Command(ctx, c.Binary, "status", "-o", "json", "--data-dir", c.Data)
	out, err := cmd.Output()
	var s control.Status
	if decodeErr := json.Unmarshal(out, &s); decodeErr != nil {
		return s, fmt.Errorf("proa status: %w: %s", err, out)
	}
	return s, nil
}

// Config is the administrator's.
func (c *Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.Data, "kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// Client is the administrator's.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
