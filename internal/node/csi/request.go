package csi

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// Volume is one volume as one pod wants it: a PersistentVolume or, inline, the
// pod's own.
type Volume struct {
	Pod        *v1.Pod
	Name       string // of the folder in the pod's
	Persistent *v1.PersistentVolume
	Inline     *v1.CSIVolumeSource
	ReadOnly   bool
}

func (v *Volume) driver() string {
	if v.Inline != nil {
		return v.Inline.Driver
	}
	return v.Persistent.Spec.CSI.Driver
}

// handle of an inline volume is made up, the same for each try.
func (v *Volume) handle() string {
	if v.Inline != nil {
		return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(string(v.Pod.UID)+v.Name)))
	}
	return v.Persistent.Spec.CSI.VolumeHandle
}

func (v *Volume) mode() storagev1.VolumeLifecycleMode {
	if v.Inline != nil {
		return storagev1.VolumeLifecycleEphemeral
	}
	return storagev1.VolumeLifecyclePersistent
}

func (v *Volume) block() bool {
	return v.Persistent != nil && v.Persistent.Spec.VolumeMode != nil && *v.Persistent.Spec.VolumeMode == v1.PersistentVolumeBlock
}

func (v *Volume) fsType() string {
	switch {
	case v.Inline == nil:
		return v.Persistent.Spec.CSI.FSType
	case v.Inline.FSType != nil:
		return *v.Inline.FSType
	}
	return ""
}

func (v *Volume) attributes() map[string]string {
	if v.Inline != nil {
		return v.Inline.VolumeAttributes
	}
	return v.Persistent.Spec.CSI.VolumeAttributes
}

// publishSecret is nil where there is none.
func (v *Volume) publishSecret() *v1.SecretReference {
	switch {
	case v.Inline == nil:
		return v.Persistent.Spec.CSI.NodePublishSecretRef
	case v.Inline.NodePublishSecretRef != nil:
		return &v1.SecretReference{Namespace: v.Pod.Namespace, Name: v.Inline.NodePublishSecretRef.Name}
	}
	return nil
}

// accessMode is the first of the volume's, as upstream has it.
func (v *Volume) accessMode() v1.PersistentVolumeAccessMode {
	if v.Persistent == nil || len(v.Persistent.Spec.AccessModes) == 0 {
		return v1.ReadWriteOnce
	}
	return v.Persistent.Spec.AccessModes[0]
}

// capability describes the volume to a driver that can do these things. group, if
// not nil, is the driver's to give the volume to.
func (v *Volume) capability(can map[pb.NodeServiceCapability_RPC_Type]bool, group *int64) *pb.VolumeCapability {
	c := &pb.VolumeCapability{AccessMode: &pb.VolumeCapability_AccessMode{
		Mode: accessMode(v.accessMode(), can[pb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER]),
	}}
	if v.block() {
		c.AccessType = &pb.VolumeCapability_Block{Block: &pb.VolumeCapability_BlockVolume{}}
		return c
	}
	mount := &pb.VolumeCapability_MountVolume{FsType: v.fsType()}
	if v.Persistent != nil {
		mount.MountFlags = v.Persistent.Spec.MountOptions
	}
	if group != nil && can[pb.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP] {
		mount.VolumeMountGroup = strconv.FormatInt(*group, 10)
	}
	c.AccessType = &pb.VolumeCapability_Mount{Mount: mount}
	return c
}

// accessMode: drivers that don't know of several writers on one node are told
// that there is one, whatever the API says.
func accessMode(mode v1.PersistentVolumeAccessMode, several bool) pb.VolumeCapability_AccessMode_Mode {
	switch mode {
	case v1.ReadOnlyMany:
		return pb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	case v1.ReadWriteMany:
		return pb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	case v1.ReadWriteOnce:
		if several {
			return pb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
		}
		return pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	case v1.ReadWriteOncePod:
		if several {
			return pb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
		}
		return pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	}
	return pb.VolumeCapability_AccessMode_UNKNOWN
}

// podInfo is what a driver that asks for it is told of the pod.
func (v *Volume) podInfo() map[string]string {
	return map[string]string{
		"csi.storage.k8s.io/pod.name":            v.Pod.Name,
		"csi.storage.k8s.io/pod.namespace":       v.Pod.Namespace,
		"csi.storage.k8s.io/pod.uid":             string(v.Pod.UID),
		"csi.storage.k8s.io/serviceAccount.name": v.Pod.Spec.ServiceAccountName,
		"csi.storage.k8s.io/ephemeral":           strconv.FormatBool(v.Inline != nil),
	}
}

// ownsGroup tells whether it is for the agent to give the volume to the pod's
// group. d may be nil: a driver needs no object.
func (v *Volume) ownsGroup(d *storagev1.CSIDriver) bool {
	policy := storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy
	if d != nil && d.Spec.FSGroupPolicy != nil {
		policy = *d.Spec.FSGroupPolicy
	}
	switch {
	case v.ReadOnly, v.block(), policy == storagev1.NoneFSGroupPolicy:
		return false
	case policy == storagev1.FileFSGroupPolicy:
		return true
	}
	return v.fsType() != "" && (v.Inline != nil || slices.Contains(v.Persistent.Spec.AccessModes, v1.ReadWriteOnce) || slices.Contains(v.Persistent.Spec.AccessModes, v1.ReadWriteOncePod))
}

// lives says why the driver can't have volumes of this kind of life.
func (v *Volume) lives(d *storagev1.CSIDriver) error {
	switch {
	case d == nil && v.Inline == nil:
		return nil
	case d == nil:
		return fmt.Errorf("volume mode %q not supported by driver %s (no CSIDriver object)", v.mode(), v.driver())
	case !slices.Contains(d.Spec.VolumeLifecycleModes, v.mode()):
		return fmt.Errorf("volume mode %q not supported by driver %s (only supports %q)", v.mode(), v.driver(), d.Spec.VolumeLifecycleModes)
	}
	return nil
}

// over lays one map over another, in a copy.
func over(base, top map[string]string) map[string]string {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, top)
	return out
}

// attachmentName is that of the VolumeAttachment of a volume on a node, which
// both sides make up in the same way.
func attachmentName(handle, driver, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+driver+node)))
}
