// Package layout says where a cluster keeps what on a machine. Everything of a
// cluster follows from its data folder, so two clusters never meet.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// DefaultData is the data folder of the cluster that is meant when none is named.
const DefaultData = "/var/lib/proa"

// Layout of one cluster's files.
type Layout struct {
	ID   string // 8 hex digits, of the data folder's path; part of every name the kernel sees
	Data string // absolute; survives a reboot
	Run  string // gone after a reboot, like the processes and mounts it speaks of
}

// For is the layout below the data folder; an empty one means DefaultData.
func For(data string) (Layout, error) {
	if data == "" {
		data = DefaultData
	}
	abs, err := filepath.Abs(data)
	if err != nil {
		return Layout{}, fmt.Errorf("data folder %s: %w", data, err)
	}
	abs = resolve(abs) // one folder is one cluster, by whichever path it is named
	sum := sha256.Sum256([]byte(abs))
	id := hex.EncodeToString(sum[:4])
	return Layout{ID: id, Data: abs, Run: filepath.Join("/run/proa", id)}, nil
}

// resolve follows the links in a path as far as it is there.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}

// beforehand are the names that a data folder may hold before there is a cluster
// in it: images and settings that were brought in, what a start that failed has
// left, a new disk's own. Settings are files that end in .yaml.
var beforehand = []string{"images", "seccomp", "bin", "log", "pods", "node", "run", "lost+found"}

// Strangers lists what is in the data folder and is nobody's whom we know, if it
// is not the folder of a cluster. Such a folder is not ours to fill or to remove.
func (l Layout) Strangers() ([]string, error) {
	if _, err := os.Stat(l.Cluster()); err == nil {
		return nil, nil
	}
	found, err := os.ReadDir(l.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	var strangers []string
	for _, e := range found {
		if filepath.Ext(e.Name()) != ".yaml" && !slices.Contains(beforehand, e.Name()) {
			strangers = append(strangers, e.Name())
		}
	}
	return strangers, nil
}

// Make creates the folders, for root alone, and Data/run as a link to Run.
func (l Layout) Make() error {
	for _, dir := range []string{l.Data, l.Run, l.Logs(), l.Pods(), l.Node()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	// Passed through, not read, by containers in user namespaces on the way to
	// their root file systems: there they are nobody.
	for _, dir := range []string{filepath.Dir(l.Run), l.Run} {
		if err := os.Chmod(dir, 0o711); err != nil {
			return fmt.Errorf("open folder: %w", err)
		}
	}
	link := filepath.Join(l.Data, "run")
	if target, err := os.Readlink(link); err == nil && target == l.Run {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", link, err)
	}
	return os.Symlink(l.Run, link)
}

// What lies where. Data first.
func (l Layout) Kubeconfig() string { return filepath.Join(l.Data, "kubeconfig") }
func (l Layout) Cluster() string    { return filepath.Join(l.Data, "cluster.json") }
func (l Layout) PKI() string        { return filepath.Join(l.Data, "pki") }
func (l Layout) Etcd() string       { return filepath.Join(l.Data, "etcd") }
func (l Layout) Images() string     { return filepath.Join(l.Data, "images") }
func (l Layout) Registries() string { return filepath.Join(l.Data, "registries.yaml") }
func (l Layout) Kubelet() string    { return filepath.Join(l.Data, "kubelet.yaml") }
func (l Layout) AuditRules() string { return filepath.Join(l.Data, "audit-policy.yaml") }
func (l Layout) Encryption() string { return filepath.Join(l.Data, "encryption.yaml") }
func (l Layout) Pods() string       { return filepath.Join(l.Data, "pods") }
func (l Layout) Plugins() string    { return filepath.Join(l.Data, "plugins") }
func (l Layout) Registry() string   { return filepath.Join(l.Data, "plugins_registry") }
func (l Layout) Storage() string    { return filepath.Join(l.Data, "storage") }
func (l Layout) Node() string       { return filepath.Join(l.Data, "node") }
func (l Layout) Join() string       { return filepath.Join(l.Data, "node", "join") }
func (l Layout) Logs() string       { return filepath.Join(l.Data, "log") }
func (l Layout) PodLogs() string    { return filepath.Join(l.Data, "log", "pods") }
func (l Layout) ServerLog() string  { return filepath.Join(l.Data, "log", "proa.log") }
func (l Layout) AuditLog() string   { return filepath.Join(l.Data, "log", "audit.log") }
func (l Layout) KeeperLog() string  { return filepath.Join(l.Data, "log", "keeper.log") }

// Below Run.
func (l Layout) Lock() string         { return filepath.Join(l.Run, "proa.lock") }
func (l Layout) Control() string      { return filepath.Join(l.Run, "proa.sock") }
func (l Layout) CRI() string          { return filepath.Join(l.Run, "cri.sock") }
func (l Layout) KeeperSocket() string { return filepath.Join(l.Run, "keeper.sock") }
func (l Layout) ImagesSocket() string { return filepath.Join(l.Run, "images.sock") }
func (l Layout) Network() string      { return filepath.Join(l.Run, "network") }

// Cgroup is the parent of all of the cluster's cgroups, below each controller's root.
func (l Layout) Cgroup() string { return "/proa-" + l.ID }
