package app

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri"
	"github.com/proa-project/proa/internal/runtime/images"
)

// containerImages is the image store as the container runtime asks for it.
type containerImages struct{ store *images.Store }

var _ cri.Images = containerImages{}

func (c containerImages) Resolve(ctx context.Context, ref string) (cri.Image, error) {
	img, err := c.store.Get(ctx, ref)
	if err != nil {
		return cri.Image{}, err
	}
	config, err := c.store.Config(ctx, img.ID)
	if err != nil {
		return cri.Image{}, err
	}
	return cri.Image{ID: img.ID, Ref: img.Ref(), Size: img.Size, Config: config}, nil
}

func (c containerImages) Prepare(ctx context.Context, key, imageID string, opts cri.SnapshotOptions) ([]mount.Mount, error) {
	return c.store.Prepare(ctx, key, imageID, rootFSOptions(opts))
}

func rootFSOptions(opts cri.SnapshotOptions) images.RootFSOptions {
	return images.RootFSOptions{UIDMappings: imageMappings(opts.UIDMappings), GIDMappings: imageMappings(opts.GIDMappings)}
}

func imageMappings(in []*runtimeapi.IDMapping) []images.IDMapping {
	var out []images.IDMapping
	for _, m := range in {
		out = append(out, images.IDMapping{ContainerID: m.ContainerId, HostID: m.HostId, Length: m.Length})
	}
	return out
}

func (c containerImages) View(ctx context.Context, key, imageID string, opts cri.SnapshotOptions) ([]mount.Mount, error) {
	return c.store.View(ctx, key, imageID, rootFSOptions(opts))
}

func (c containerImages) Remove(ctx context.Context, key string) error {
	return c.store.Release(ctx, key)
}

func (c containerImages) Usage(ctx context.Context, key string) (cri.Usage, error) {
	u, err := c.store.RootFSUsage(ctx, key)
	return cri.Usage{Bytes: u.Bytes, Inodes: u.Inodes}, err
}

func (c containerImages) Keys(ctx context.Context) ([]string, error) { return c.store.RootFSKeys(ctx) }
