package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/node/csi"
)

// Folders of the kinds of storage that outlive pods, in a pod's volumes. For storage that is a folder of this node anyway it
// stays empty and nothing is mounted: it says that the pod has the volume, to whoever wants to remove that.
const (
	hostPathFolder = "kubernetes.io~host-path"
	localFolder    = "kubernetes.io~local-volume"
	nfsFolder      = "kubernetes.io~nfs"
)

// errTwice in upstream's words.
var errTwice = errors.New("volume uses the ReadWriteOncePod access mode and is already in use by another pod")

// bringUpBacked makes a volume that others fill ready for the pod's containers.
func (m *Manager) bringUpBacked(ctx context.Context, state *podState, vol *v1.Volume) error {
	b, err := m.resolve(ctx, state.pod, vol)
	if err != nil {
		return &ProcessError{vol.Name, err}
	}
	if err := m.provide(ctx, state.pod, b); err != nil {
		return &SetupError{b.name, err}
	}
	state.backings[vol.Name] = b
	return nil
}

func (m *Manager) provide(ctx context.Context, pod *v1.Pod, b *backing) error {
	if b.volume == nil && b.source.HostPath != nil {
		return checkHostPath(b.source.HostPath)
	}
	dir, err := m.backingDir(pod.UID, b)
	if err != nil {
		return err
	}
	used, err := m.usedByOthers(dir)
	if err != nil {
		return err
	}
	if used && b.onlyOnce() {
		return errTwice
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	switch {
	case b.csi():
		return m.mountCSI(ctx, pod, b, dir)
	case b.source.HostPath != nil:
		return checkHostPath(b.source.HostPath)
	case b.source.Local != nil:
		return provideLocal(pod, b, used)
	default:
		return mountNFS(ctx, b, dir)
	}
}

// provideLocal gives the folder to the pod's group, unless other pods have it already.
func provideLocal(pod *v1.Pod, b *backing, used bool) error {
	info, err := os.Stat(b.source.Local.Path)
	if err != nil {
		return fmt.Errorf("path %q does not exist", b.source.Local.Path)
	}
	if b.block() {
		if info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
			return fmt.Errorf("local volume %s is no block device", b.source.Local.Path)
		}
		return nil
	}
	if !info.IsDir() {
		return fmt.Errorf("local volume %s is not a folder, which is all that is supported of file systems", b.source.Local.Path)
	}
	if used || b.readOnly {
		return nil
	}
	return setGroup(b.source.Local.Path, fsGroup(pod), false, changePolicy(pod))
}

func changePolicy(pod *v1.Pod) *v1.PodFSGroupChangePolicy {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroupChangePolicy
}

// backingDir is the volume's folder in the pod's.
func (m *Manager) backingDir(uid types.UID, b *backing) (string, error) {
	var plugin string
	switch {
	case b.csi():
		plugin = csi.PluginFolder
	case b.source.HostPath != nil:
		plugin = hostPathFolder
	case b.source.Local != nil:
		plugin = localFolder
	case b.source.NFS != nil:
		plugin = nfsFolder
	default:
		return "", fmt.Errorf("volumes of type %s are not supported on this node", sourceType(b.source))
	}
	return filepath.Join(m.podDir(uid), volumesFolder, plugin, b.name), nil
}

// backingPath is what containers mount.
func (m *Manager) backingPath(uid types.UID, b *backing) (string, error) {
	switch {
	case b.csi():
		return b.path, nil
	case b.source.HostPath != nil:
		return b.source.HostPath.Path, nil
	case b.source.Local != nil:
		return b.source.Local.Path, nil
	}
	return m.backingDir(uid, b)
}

// InUse tells whether a pod of this node has the local PersistentVolume, be it one that the API has forgotten.
func (m *Manager) InUse(volume string) (bool, error) {
	return m.usedByOthers(filepath.Join(m.podDir("none"), volumesFolder, localFolder, volume))
}

// usedByOthers tells whether another pod has a folder like this one of a pod.
func (m *Manager) usedByOthers(dir string) (bool, error) {
	rel, err := filepath.Rel(m.cfg.Root, dir)
	if err != nil {
		return false, err
	}
	_, inPod, _ := strings.Cut(rel, string(filepath.Separator))
	found, err := filepath.Glob(filepath.Join(m.cfg.Root, "*", inPod))
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(found, func(name string) bool { return name != dir }), nil
}
