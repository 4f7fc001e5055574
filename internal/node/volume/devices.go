package volume

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Devices lists what the container's volumeDevices come to.
func (m *Manager) Devices(_ context.Context, pod *v1.Pod, c *v1.Container) ([]*runtimeapi.Device, error) {
	out := make([]*runtimeapi.Device, 0, len(c.VolumeDevices))
	for _, want := range c.VolumeDevices {
		vol := findVolume(pod, want.Name)
		if vol == nil {
			return nil, fmt.Errorf("volume %q of container %q is not among the pod's", want.Name, c.Name)
		}
		path, readOnly, err := m.hostPath(pod, vol)
		if err != nil {
			return nil, err
		}
		permissions := "mrw"
		if readOnly {
			permissions = "r"
		}
		out = append(out, &runtimeapi.Device{HostPath: path, ContainerPath: want.DevicePath, Permissions: permissions})
	}
	return out, nil
}

func (b *backing) block() bool {
	return b.volume != nil && b.volume.Spec.VolumeMode != nil && *b.volume.Spec.VolumeMode == v1.PersistentVolumeBlock
}
