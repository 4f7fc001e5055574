package csi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	storagev1 "k8s.io/api/storage/v1"
)

// stagingDir is where a volume is staged on this node.
func (m *Manager) stagingDir(v id) string {
	return filepath.Join(m.cfg.Plugins, pluginName, v.driver, fmt.Sprintf("%x", sha256.Sum256([]byte(v.handle))))
}

// stage makes the volume ready for this node's pods: attached, where the driver
// asks for that, and staged, where it can. The caller holds the volume.
func (m *Manager) stage(ctx context.Context, d *driver, object *storagev1.CSIDriver, v *Volume) (publishContext map[string]string, path string, err error) {
	attached, err := m.awaitAttached(ctx, object, v)
	if err != nil || !d.stages() {
		return attached, "", err
	}
	volume := id{v.driver(), v.handle()}
	dir := m.stagingDir(volume)
	path = filepath.Join(dir, globalMount)
	m.mu.Lock()
	done := m.staged[volume]
	m.mu.Unlock()
	if done {
		return attached, path, nil
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, "", err
	}
	if err := writeRecord(dir, record{Handle: volume.handle, Driver: volume.driver}); err != nil {
		return nil, "", err
	}
	secrets, err := m.secret(ctx, "NodeStageSecretRef", v.Persistent.Spec.CSI.NodeStageSecretRef)
	if err != nil {
		return nil, "", err
	}
	if _, err := d.node.NodeStageVolume(ctx, &pb.NodeStageVolumeRequest{
		VolumeId: v.handle(), PublishContext: attached, StagingTargetPath: path, VolumeCapability: v.capability(d.can, groupOf(v.Pod)),
		Secrets: secrets, VolumeContext: v.attributes(),
	}); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	m.staged[volume] = true
	m.mu.Unlock()
	return attached, path, nil
}

// unstage is for when no pod of this node has the volume. The caller holds it.
func (m *Manager) unstage(ctx context.Context, d *driver, v id) error {
	dir := m.stagingDir(v)
	r, err := readRecord(dir)
	if err != nil || r == nil {
		return err
	}
	path := filepath.Join(dir, globalMount)
	m.mu.Lock()
	delete(m.staged, v)
	m.mu.Unlock()
	if d.stages() {
		if _, err := d.node.NodeUnstageVolume(ctx, &pb.NodeUnstageVolumeRequest{VolumeId: v.handle, StagingTargetPath: path}); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dropRecord(dir)
}

// sweep unstages what a crash left staged for no pod. A driver is swept as it
// registers, before a pod can use it.
func (m *Manager) sweep(ctx context.Context, d *driver) {
	left, err := records(filepath.Join(m.cfg.Plugins, pluginName, d.name, "*"))
	if err != nil {
		m.cfg.Log.Warn("Staged volumes can't be listed", "driver", d.name, "err", err)
		return
	}
	for _, r := range left {
		if err := m.sweepOne(ctx, d, r.id()); err != nil {
			m.cfg.Log.Warn("A volume stays staged for no pod", "driver", d.name, "volume", r.Handle, "err", err)
		}
	}
}

func (m *Manager) sweepOne(ctx context.Context, d *driver, v id) error {
	release := m.hold(v)
	defer release()
	users, err := m.users(v)
	if err != nil || len(users) > 0 {
		return err
	}
	return m.unstage(ctx, d, v)
}
