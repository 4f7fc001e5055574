package execute

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Volumes makes a pod's volumes. Every method is idempotent, safe for concurrent
// use (the agent calls at most one Setup or TearDown a pod at a time), and may be
// repeated after a crash with whatever the crash left.
type Volumes interface {
	// Setup makes all volumes of the pod ready to be mounted into containers; it
	// is called before the sandbox exists, again after a failure, and again when
	// the pod object changed (labels and annotations feed downwardAPI volumes).
	// From then until TearDown the implementation keeps the contents current by
	// itself (a changed ConfigMap, a token to rotate).
	//
	// The error's text is shown to the user as it stands, as the message of a
	// FailedMount event (stock wording: `MountVolume.SetUp failed for volume "x" : configmap "y" not found`);
	// several are joined with errors.Join, one event each.
	Setup(ctx context.Context, pod *v1.Pod) error

	// Mounts lists what the container's volumeMounts come to: host paths (or
	// images), container paths, propagation, subPath and subPathExpr resolved
	// (env: the container's environment). An error is shown as the container's
	// CreateContainerConfigError.
	Mounts(ctx context.Context, pod *v1.Pod, c *v1.Container, env map[string]string) ([]*runtimeapi.Mount, error)

	// Path is the host directory of one volume (for env.valueFrom.fileKeyRef).
	Path(pod *v1.Pod, volume string) (string, error)

	// TearDown unmounts and deletes all that Setup and Mounts made. It is called
	// when no container of the pod is left, by UID alone: the pod may be long gone.
	TearDown(ctx context.Context, uid types.UID) error

	// Present lists the UIDs of all pods that have something to tear down, found
	// on disk and in the mount table, so that leftovers of a crash are found.
	Present() ([]types.UID, error)
}

// VolumeDevices is the optional ability of Volumes to give containers block
// devices.
type VolumeDevices interface {
	// Devices lists what the container's volumeDevices come to; errors as of Mounts.
	Devices(ctx context.Context, pod *v1.Pod, c *v1.Container) ([]*runtimeapi.Device, error)
}

// VolumeChanges is the optional ability of Volumes to tell that something a
// pod's Setup failed on may work now (a ConfigMap appeared), so that the agent
// tries again at once instead of after its back-off.
type VolumeChanges interface {
	// Run calls changed until ctx ends.
	Run(ctx context.Context, changed func(types.UID)) error
}
