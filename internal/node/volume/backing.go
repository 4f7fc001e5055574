package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"
	storagehelpers "k8s.io/component-helpers/storage/volume"
)

// claimProtection is what keeps a claim that is being deleted until its pods are gone.
const claimProtection = "kubernetes.io/pvc-protection"

// backing is the storage behind one of a pod's volumes, whether the pod names it itself or by a claim.
type backing struct {
	// volume is what the claim is bound to; nil where the pod itself says what it wants.
	volume *v1.PersistentVolume
	// name of the volume's folder in the pod's: the PersistentVolume's name, or that of the pod's volume.
	name     string
	source   v1.PersistentVolumeSource
	inline   *v1.CSIVolumeSource // a CSI volume that lives and dies with the pod
	readOnly bool
	// path is what containers get, once a CSI driver has made it.
	path string
	// republish: the driver wants to be asked again from time to time.
	republish bool
}

func (b *backing) csi() bool { return b.inline != nil || b.source.CSI != nil }

// ProcessError says that what a volume is cannot be told; its text is the message of a FailedMount event.
type ProcessError struct {
	Volume string
	Err    error
}

func (e *ProcessError) Error() string {
	return fmt.Sprintf("Unable to attach or mount volumes: unmounted volumes=[%[1]s], unattached volumes=[], failed to process volumes=[%[1]s]: %[2]v", e.Volume, e.Err)
}

func (e *ProcessError) Unwrap() error { return e.Err }

// claimName is the claim behind the volume; empty for all other kinds.
func claimName(pod *v1.Pod, vol *v1.Volume) string {
	switch {
	case vol.PersistentVolumeClaim != nil:
		return vol.PersistentVolumeClaim.ClaimName
	case vol.Ephemeral != nil:
		return ephemeral.VolumeClaimName(pod, vol)
	}
	return ""
}

// resolve finds what stands behind a volume that isn't the agent's own to fill.
func (m *Manager) resolve(ctx context.Context, pod *v1.Pod, vol *v1.Volume) (*backing, error) {
	name := claimName(pod, vol)
	if name == "" {
		return inlineBacking(vol)
	}
	found, err := m.claimed(ctx, pod, vol, name)
	if err != nil {
		return nil, fmt.Errorf("error processing PVC %s/%s: %w", pod.Namespace, name, err)
	}
	if err := checkMode(pod, vol.Name, found.volume); err != nil {
		return nil, err
	}
	return found, nil
}

func inlineBacking(vol *v1.Volume) (*backing, error) {
	b := &backing{name: vol.Name}
	switch {
	case vol.HostPath != nil:
		b.source.HostPath = vol.HostPath
	case vol.NFS != nil:
		b.source.NFS, b.readOnly = vol.NFS, vol.NFS.ReadOnly
	case vol.CSI != nil:
		b.inline, b.readOnly = vol.CSI, vol.CSI.ReadOnly != nil && *vol.CSI.ReadOnly
	default:
		return nil, fmt.Errorf("volumes of type %s are not supported on this node", sourceType(vol.VolumeSource))
	}
	return b, nil
}

// claimed follows the claim to its volume. The API server itself is asked: what a claim is bound to never changes, so there is
// nothing to watch, and a node may not list claims.
func (m *Manager) claimed(ctx context.Context, pod *v1.Pod, vol *v1.Volume, name string) (*backing, error) {
	claim, err := m.cfg.Client.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to fetch PVC from API server: %w", err)
	}
	switch {
	case claim.DeletionTimestamp != nil && !slices.Contains(claim.Finalizers, claimProtection):
		return nil, errors.New("PVC is being deleted")
	case claim.Status.Phase != v1.ClaimBound:
		return nil, errors.New("PVC is not bound")
	case claim.Spec.VolumeName == "":
		return nil, errors.New("PVC has empty pvc.Spec.VolumeName")
	}
	if vol.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(pod, claim); err != nil {
			return nil, err
		}
	}
	volume, err := m.cfg.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("failed to fetch PV %s from API server: %w", claim.Spec.VolumeName, err)
	case volume.Spec.ClaimRef == nil:
		return nil, fmt.Errorf("found PV object %s but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim", volume.Name)
	case volume.Spec.ClaimRef.UID != claim.UID:
		return nil, fmt.Errorf("found PV object %s but its pv.Spec.ClaimRef.UID %s does not point to claim.UID %s", volume.Name, volume.Spec.ClaimRef.UID, claim.UID)
	}
	if err := m.checkNode(volume); err != nil {
		return nil, err
	}
	readOnly := vol.PersistentVolumeClaim != nil && vol.PersistentVolumeClaim.ReadOnly || volume.Spec.CSI != nil && volume.Spec.CSI.ReadOnly
	return &backing{volume: volume, name: volume.Name, source: volume.Spec.PersistentVolumeSource, readOnly: readOnly}, nil
}

// checkNode refuses a volume that isn't reachable from this node: the scheduler knows, but a pod may come with its node set.
func (m *Manager) checkNode(volume *v1.PersistentVolume) error {
	if m.cfg.Node == nil || volume.Spec.NodeAffinity == nil {
		return nil
	}
	node := m.cfg.Node()
	if node == nil {
		return nil // not registered yet
	}
	if err := storagehelpers.CheckNodeAffinity(volume, node.Labels); err != nil {
		return fmt.Errorf("MapVolume.NodeAffinity check failed for volume %q : %w", volume.Name, err)
	}
	return nil
}

// checkMode: a file system is mounted, a block volume is a device.
func checkMode(pod *v1.Pod, name string, volume *v1.PersistentVolume) error {
	mode := v1.PersistentVolumeFilesystem
	if volume.Spec.VolumeMode != nil {
		mode = *volume.Spec.VolumeMode
	}
	for _, c := range allContainers(pod) {
		if mode != v1.PersistentVolumeFilesystem && slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == name }) {
			return fmt.Errorf("volume %s has volumeMode %s, but is specified in volumeMounts", name, mode)
		}
		if mode != v1.PersistentVolumeBlock && slices.ContainsFunc(c.VolumeDevices, func(d v1.VolumeDevice) bool { return d.Name == name }) {
			return fmt.Errorf("volume %s has volumeMode %s, but is specified in volumeDevices", name, mode)
		}
	}
	return nil
}

// onlyOnce tells whether no two pods may have the volume.
func (b *backing) onlyOnce() bool {
	return b.volume != nil && slices.Contains(b.volume.Spec.AccessModes, v1.ReadWriteOncePod)
}
