package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// minFree is what an empty cluster and a few images take.
const minFree = 1 << 30

// Config of the node that is to run here.
type Config struct {
	DataDir string
	APIPort int // 0 = not checked
}

// Checks in the order in which a user would mend them.
func Checks(c Config) []Check {
	checks := []Check{
		{Name: "root", Remedy: "Run it again with sudo", Try: root, Gate: true},
		{Name: "namespaces", Remedy: "Use a kernel (or a container) that may make network, mount, PID, IPC and UTS namespaces", Try: namespaces},
		{Name: "overlay file system", Remedy: "Load it with `modprobe overlay`, and keep the data folder on a disk file system such as ext4 or xfs", Try: func() error { return overlay(c.DataDir) }},
		{Name: "control groups", Remedy: "Mount cgroup v2 at /sys/fs/cgroup, or the v1 controllers cpu, cpuset, memory, pids and devices", Try: cgroups},
		{Name: "packet filter", Remedy: "Load it with `modprobe nf_tables`, and allow NET_ADMIN", Try: packetFilter},
		{Name: "forwarding", Remedy: "Allow net.ipv4.ip_forward to be set: `sysctl -w net.ipv4.ip_forward=1`", Try: forwarding},
		{Name: "disk space", Remedy: "Free some space, or name another folder with --data-dir", Try: func() error { return space(c.DataDir) }},
	}
	if c.APIPort != 0 {
		checks = append(checks, Check{
			Name:   fmt.Sprintf("port %d", c.APIPort),
			Remedy: "Stop what listens there (`ss -ltnp`), or name another port with --api-port",
			Try:    func() error { return portFree(c.APIPort) },
		})
	}
	return checks
}

func root() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("running as user %d", uid)
	}
	return nil
}

func namespaces() error {
	cmd := exec.Command("/proc/self/exe", "--help")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Process.Kill() // that it could be made is the answer
	_ = cmd.Wait()
	return nil
}

// overlay mounts one below the data folder, since whether it works depends on
// the file system there.
func overlay(dataDir string) (err error) {
	dir, err := os.MkdirTemp(existing(dataDir), ".proa-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	paths := map[string]string{}
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		paths[name] = filepath.Join(dir, name)
		if err := os.Mkdir(paths[name], 0o700); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", paths["lower"], paths["upper"], paths["work"])
	if err := unix.Mount("overlay", paths["merged"], "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay in %s: %w", dir, err)
	}
	return unix.Unmount(paths["merged"], unix.MNT_DETACH)
}

func cgroups() error {
	if data, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return missing("cgroup v2", strings.Fields(string(data)), "cpu", "memory", "pids")
	}
	data, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return err
	}
	var have []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 4 && f[3] == "1" && mounted(f[0]) {
			have = append(have, f[0])
		}
	}
	return missing("cgroup v1", have, "cpu", "memory", "pids", "devices", "cpuset")
}

func mounted(controller string) bool {
	_, err := os.Stat(filepath.Join("/sys/fs/cgroup", controller, "tasks"))
	return err == nil
}

func missing(version string, have []string, want ...string) error {
	var lacking []string
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || h == w
		}
		if !found {
			lacking = append(lacking, w)
		}
	}
	if lacking != nil {
		return fmt.Errorf("%s lacks the controllers %s", version, strings.Join(lacking, ", "))
	}
	return nil
}

func packetFilter() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	_, err = c.ListTables()
	return err
}

func forwarding() error {
	const path = "/proc/sys/net/ipv4/ip_forward"
	if data, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(data)) == "1" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func space(dataDir string) error {
	var fs unix.Statfs_t
	dir := existing(dataDir)
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < minFree {
		return fmt.Errorf("%s has %d MiB free, want %d", dir, free>>20, minFree>>20)
	}
	return nil
}

// letGo is how long a server that was just killed may hold its port.
const letGo = time.Second

func portFree(port int) error {
	for deadline := time.Now().Add(letGo); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		switch {
		case err == nil:
			return l.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			return err
		case time.Now().After(deadline):
			return errors.New("already in use")
		}
	}
}

// existing is the nearest folder above path that is there.
func existing(path string) string {
	for path != "/" {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		path = filepath.Dir(path)
	}
	return path
}
