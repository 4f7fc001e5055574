package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/csi"
)

// republishEvery is how often a driver that wants it is asked to publish a volume again: tokens that it was given age.
const republishEvery = time.Minute

// CSI has drivers mount volumes.
type CSI interface {
	// Mount publishes the volume in dir, once, or again if so asked.
	Mount(ctx context.Context, v *csi.Volume, dir string, again bool) (csi.Mounted, error)
	// Unmount takes down what Mount made in dir, in this life or another.
	Unmount(ctx context.Context, dir string) error
}

var _ CSI = (*csi.Manager)(nil)

var errNoCSI = errors.New("this node has no CSI drivers")

func (b *backing) forDriver(pod *v1.Pod) *csi.Volume {
	return &csi.Volume{Pod: pod, Name: b.name, Persistent: b.volume, Inline: b.inline, ReadOnly: b.readOnly}
}

// mountCSI has the driver publish the volume and gives it to the pod's group where that is not the driver's to do.
func (m *Manager) mountCSI(ctx context.Context, pod *v1.Pod, b *backing, dir string) error {
	if m.cfg.CSI == nil {
		return errNoCSI
	}
	mounted, err := m.cfg.CSI.Mount(ctx, b.forDriver(pod), dir, false)
	if err != nil {
		return err
	}
	b.path, b.republish = mounted.Path, mounted.Republish
	if !mounted.Fresh || !mounted.GiveToGroup {
		return nil
	}
	if err := setGroup(mounted.Path, fsGroup(pod), false, changePolicy(pod)); err != nil {
		// Published anew by the next try, which then is fresh again.
		return errors.Join(fmt.Errorf("applyFSGroup failed for vol %s: %w", b.name, err), m.cfg.CSI.Unmount(ctx, dir))
	}
	return nil
}

// republish asks the drivers that want it once more.
func (m *Manager) republish(ctx context.Context, state *podState) error {
	var errs []error
	for _, b := range state.backings {
		if !b.republish {
			continue
		}
		dir, err := m.backingDir(state.pod.UID, b)
		if err == nil {
			_, err = m.cfg.CSI.Mount(ctx, b.forDriver(state.pod), dir, true)
		}
		if err != nil {
			errs = append(errs, &SetupError{b.name, err})
		}
	}
	return errors.Join(errs...)
}

func (s *podState) republishes() bool {
	for _, b := range s.backings {
		if b.republish {
			return true
		}
	}
	return false
}

// unmountCSI has the drivers take down what they published in a pod's folder. What is pinned of it goes first: it would keep
// the driver's mounts busy.
func (m *Manager) unmountCSI(ctx context.Context, podDir string) error {
	published, err := filepath.Glob(filepath.Join(podDir, volumesFolder, csi.PluginFolder, "*"))
	if err != nil || len(published) == 0 {
		return err
	}
	if m.cfg.CSI == nil {
		return errNoCSI
	}
	if err := unmountBelow(filepath.Join(podDir, subPathsFolder)); err != nil {
		return err
	}
	var errs []error
	for _, dir := range published {
		if err := m.cfg.CSI.Unmount(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("unmount volume %s: %w", filepath.Base(dir), err))
		}
	}
	return errors.Join(errs...)
}
