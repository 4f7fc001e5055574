package execute

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
)

const etcHosts = "/etc/hosts"

// mounts are the volumes' and those of the two files that the agent writes: the
// pod's /etc/hosts and the container's termination message.
func (e *Executor) mounts(ctx context.Context, r Request, c *v1.Container, env *container.Env, node container.Node) ([]*runtimeapi.Mount, error) {
	mounts, err := e.Volumes.Mounts(ctx, r.Pod, c, env.Map())
	if err != nil {
		return nil, err
	}
	if !mountsAt(mounts, etcHosts) && (r.Pod.Spec.HostNetwork || len(r.Pod.Status.PodIPs) > 0) {
		m, err := e.hostsMount(r.Pod, node)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	if c.TerminationMessagePath != "" && !mountsAt(mounts, c.TerminationMessagePath) {
		m, err := e.messageMount(r, c)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func mountsAt(mounts []*runtimeapi.Mount, path string) bool {
	for _, m := range mounts {
		if m.ContainerPath == path {
			return true
		}
	}
	return false
}

func (e *Executor) hostsMount(pod *v1.Pod, node container.Node) (*runtimeapi.Mount, error) {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	file := filepath.Join(e.podDir(pod), "etc-hosts")
	if err := writeFile(file, container.HostsFile(pod, ips, node), 0o644); err != nil {
		return nil, fmt.Errorf("write hosts file: %w", err)
	}
	return &runtimeapi.Mount{HostPath: file, ContainerPath: etcHosts, SelinuxRelabel: true}, nil
}

// messageMount makes the file that the container may write its last words to;
// anybody in it may, whatever user it runs as.
func (e *Executor) messageMount(r Request, c *v1.Container) (*runtimeapi.Mount, error) {
	file := filepath.Join(e.podDir(r.Pod), "containers", c.Name, strconv.Itoa(int(r.Action.Attempt)))
	if err := writeFile(file, "", 0o666); err != nil {
		return nil, fmt.Errorf("make termination message file: %w", err)
	}
	return &runtimeapi.Mount{HostPath: file, ContainerPath: c.TerminationMessagePath, SelinuxRelabel: true}, nil
}

// writeFile writes in place, as containers may have the file mounted; the mode is
// set whatever the umask.
func writeFile(file, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(file, mode)
}
