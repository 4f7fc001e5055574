package cri

import (
	"context"
	"net/netip"

	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Network gives sandboxes their addresses. Every method is idempotent and safe
// for concurrent use; a call may be repeated after a crash with the same
// sandbox ID.
type Network interface {
	// Attach connects the namespace to the pod network, sets up the host ports
	// and returns the pod's addresses, the primary one first. A second Attach of
	// a sandbox that is attached returns the same addresses. It is given up when
	// ctx ends, and then leaves nothing that Detach would not remove.
	Attach(ctx context.Context, req AttachRequest) ([]netip.Addr, error)
	// Detach takes back addresses and host ports. Nothing attached is no error,
	// and the namespace may be gone already.
	Detach(ctx context.Context, sandboxID string) error
	// Status is nil when pods can be attached; its error is shown to the user as
	// the message of the node's NetworkReady condition.
	Status(ctx context.Context) error
}

// PodCIDRSetter is the optional ability of a Network to learn its range from
// UpdateRuntimeConfig (upstream: from the Node object's podCIDR).
type PodCIDRSetter interface {
	SetPodCIDR(ctx context.Context, cidr string) error
}

// AttachRequest names a sandbox and what of its pod matters to a network. It is
// never sent for a pod in the host's network namespace.
type AttachRequest struct {
	SandboxID    string
	NetNS        string // path of the namespace, valid until after Detach
	Namespace    string
	Name         string
	UID          string
	Hostname     string
	PortMappings []*runtimeapi.PortMapping // only those with HostPort != 0
	Labels       map[string]string
	Annotations  map[string]string
}

// Images resolves images and gives containers their root file systems.
// All methods are safe for concurrent use.
type Images interface {
	// Resolve finds an image that is present by ID, digest reference or name. An
	// absent one is an error for which errdefs.IsNotFound holds.
	Resolve(ctx context.Context, ref string) (Image, error)
	// Prepare makes a writable snapshot named key on top of the image (by
	// Image.ID) and returns its mounts; an existing snapshot of that key is
	// returned again. Mappings shift the owners for a pod in a user namespace.
	Prepare(ctx context.Context, key, imageID string, opts SnapshotOptions) ([]mount.Mount, error)
	// View is a read-only Prepare, for image volumes.
	View(ctx context.Context, key, imageID string, opts SnapshotOptions) ([]mount.Mount, error)
	// Remove drops the snapshot; an absent one is no error. The caller has
	// unmounted it.
	Remove(ctx context.Context, key string) error
	// Usage of a snapshot's own layer.
	Usage(ctx context.Context, key string) (Usage, error)
	// Keys of all snapshots made by Prepare and View, so that those left by a
	// crash are found.
	Keys(ctx context.Context) ([]string, error)
}

// Image is what a container needs to know of its image.
type Image struct {
	ID     string        // as in CRI Image.id, PullImageResponse.image_ref
	Ref    string        // digested reference of the repository, like docker.io/library/busybox@sha256:…; the ID when there is none
	Size   int64         // bytes
	Config ocispec.Image // entrypoint, user, environment, volumes …
}

// SnapshotOptions vary a writable snapshot.
type SnapshotOptions struct {
	UIDMappings, GIDMappings []*runtimeapi.IDMapping
}

// Usage of a snapshot's own layer.
type Usage struct {
	Bytes, Inodes int64
}
