package app

import (
	"context"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/proa-project/proa/internal/cli"
	"github.com/proa-project/proa/internal/kit/version"
	"github.com/proa-project/proa/internal/runtime/cri"
	"github.com/proa-project/proa/internal/runtime/images"
)

// RunRuntime runs the container runtime alone, until ctx ends or it fails: for
// another node agent, crictl, or the official tests of runtimes.
func RunRuntime(ctx context.Context, c cli.ServerConfig) error {
	return run(ctx, c, (*server).startRuntimeAlone)
}

func (s *server) startRuntimeAlone(ctx context.Context, components *errgroup.Group) error {
	var g errgroup.Group
	g.Go(s.openNetwork)
	g.Go(func() error { return s.openRuntime(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	listening := make(chan struct{})
	if _, _, err := s.serveRuntime(ctx, components, func() { close(listening) }); err != nil {
		return err
	}
	select {
	case <-listening:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.started(ctx, components)
	return nil
}

// serveRuntime makes our own container runtime on what openRuntime and
// openNetwork opened, and serves it on its sockets. Listening may be nil.
func (s *server) serveRuntime(ctx context.Context, components *errgroup.Group, listening func()) (*cri.Service, *images.CRIServer, error) {
	service, err := cri.New(ctx, cri.Config{
		Keeper: s.keeper, Images: containerImages{s.images}, Network: podNetwork{s.network},
		StateDir: filepath.Join(s.layout.Run, "cri"), ContainersDir: filepath.Join(s.layout.Run, "containers"),
		LayersDir:    s.images.ContainersDir(),
		CgroupParent: s.layout.Cgroup() + "/cri", Version: version.Proa, Log: s.log,
	})
	if err != nil {
		return nil, nil, err
	}
	s.closers = append(s.closers, service.Close)
	store := images.NewCRIServer(s.images)
	components.Go(func() error { return service.Serve(ctx, s.layout.CRI(), store, listening) })
	components.Go(func() error { return images.Serve(ctx, s.images, s.layout.ImagesSocket()) })
	return service, store, nil
}
