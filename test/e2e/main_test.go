// Package e2e drives a real cluster of the built binary as a user would: with
// kubectl, with real images from a real registry, and with kill -9.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/runtime/images/registrytest"
	"github.com/proa-project/proa/test/cluster"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

var (
	shared   *cluster.Cluster
	client   kubernetes.Interface
	registry *registrytest.Registry // stands as the mirror of docker.io
	private  *registrytest.Registry // asks for a password
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "proa-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := startRegistries(); err != nil {
		return 1, err
	}
	defer registry.Close()
	defer private.Close()
	if shared, err = newCluster(dir); err != nil {
		return 1, err
	}
	ctx := context.Background()
	defer func() {
		if downErr := shared.Down(ctx, true); downErr != nil && err == nil {
			err = downErr
		}
		if left := leftovers(shared); err == nil && left != "" {
			err = fmt.Errorf("the cluster left behind:\n%s", left)
		}
	}()
	if err := shared.Up(ctx); err != nil {
		return 1, err
	}
	if client, err = shared.Client(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func startRegistries() (err error) {
	if registry, err = registrytest.Run(registrytest.Options{}); err != nil {
		return err
	}
	if private, err = registrytest.Run(registrytest.Options{Username: "user", Password: "secret"}); err != nil {
		return err
	}
	images, err := testImages()
	if err != nil {
		return err
	}
	for name, image := range images {
		if _, err := registry.Upload(name, image); err != nil {
			return err
		}
	}
	_, err = private.Upload("team/app:1", images["library/busybox:1.28"])
	return err
}

// newCluster makes a cluster that knows docker.io by the registry on loopback alone.
func newCluster(dir string) (*cluster.Cluster, error) {
	c, err := cluster.New(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("registries:\n  docker.io:\n    mirrors: [\"http://%s\"]\n    mirrorOnly: true\n", registry.Host)
	return c, os.WriteFile(filepath.Join(c.Data, "registries.yaml"), []byte(config), 0o600)
}

// leftovers of a cluster that is down: what still carries its name.
func leftovers(c *cluster.Cluster) string {
	var found []string
	for file, what := range map[string]string{"/proc/self/mountinfo": "mount", "/proc/net/dev": "link"} {
		data, _ := os.ReadFile(file)
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, " "+c.Data+" ") {
				continue // a disk that the test brought along
			}
			if strings.Contains(line, c.Data) || strings.Contains(line, c.ID()) {
				found = append(found, what+": "+line)
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/proa-" + c.ID(), "/run/proa/" + c.ID()} {
		matches, _ := filepath.Glob(pattern)
		found = append(found, matches...)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		data, _ := os.ReadFile(p)
		if strings.Contains(string(data), c.ID()) || strings.Contains(string(data), "server\x00--data-dir\x00"+c.Data) {
			found = append(found, "process: "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return strings.Join(found, "\n")
}
