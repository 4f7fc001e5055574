package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	cimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// ingest walks from target to the manifest of the platform, its config and its
// layers, calls fetch for each (nil = they are here already), and unpacks the
// layers that are not unpacked yet. The context carries a lease.
func (s *Store) ingest(ctx context.Context, target ocispec.Descriptor, platform platforms.MatchComparer, fetch cimages.HandlerFunc, t *tracker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unpacker, err := unpack.NewUnpacker(ctx, s.content,
		unpack.WithUnpackPlatform(unpack.Platform{
			Snapshotter: s.layers, SnapshotterKey: snapshotter,
			Applier: &applier{content: s.content, sync: !s.config.NoSync, tracker: t},
		}),
		unpack.WithLimiter(s.downloads),
		unpack.WithDuplicationSuppressor(s.blobs),
	)
	if err != nil {
		return err
	}
	g := &gate{}
	handler := g.wrap(unpacker.Unpack(s.children(target, platform, fetch, t)))
	err = cimages.Dispatch(ctx, handler, nil, target)
	if err != nil {
		cancel()
	}
	// The unpacker's error is the cause when both failed for it.
	if _, unpackErr := unpacker.Wait(); unpackErr != nil && (err == nil || ctx.Err() == nil) {
		err = unpackErr
	}
	cancel()
	// Downloads that the unpacker gave up may still be ending; their ingests must
	// be closed before they are cleaned.
	g.close()
	return err
}

// children is the walk: fetch the blob, read what it refers to, label it so that
// the collector knows, and go on with what this platform needs.
func (s *Store) children(target ocispec.Descriptor, platform platforms.MatchComparer, fetch cimages.HandlerFunc, t *tracker) cimages.Handler {
	labels := cimages.ChildGCLabelsFilterLayers
	if s.config.KeepLayers {
		labels = cimages.ChildGCLabels
	}
	next := cimages.SetChildrenMappedLabels(s.content, cimages.ChildrenHandler(s.content), labels)
	next = cimages.FilterPlatforms(next, platform)
	next = cimages.LimitManifests(next, platform, 1)
	counted := cimages.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := next(ctx, desc)
		if err == nil && cimages.IsManifestType(desc.MediaType) {
			t.expect(children, layerCount(children))
		}
		return children, err
	})
	if fetch == nil {
		return counted
	}
	return cimages.Handlers(fetch, counted)
}

func layerCount(children []ocispec.Descriptor) (n int) {
	for _, c := range children {
		if cimages.IsLayerType(c.MediaType) {
			n++
		}
	}
	return n
}

// gate counts who is inside a handler, so that close can wait for the last one
// and refuse newcomers.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (g *gate) wrap(h cimages.Handler) cimages.Handler {
	return cimages.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !g.enter() {
			return nil, context.Canceled
		}
		defer g.inside.Done()
		return h.Handle(ctx, desc)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// applier unpacks a layer into its folder, without mounting anything: a kill must
// not leave mounts.
type applier struct {
	content content.Provider
	sync    bool
	tracker *tracker
}

var _ diff.Applier = (*applier)(nil)

// Apply implements diff.Applier.
func (a *applier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	dir, opts, err := layerDir(mounts)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	ra, err := a.content.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read layer %s: %w", desc.Digest, err)
	}
	defer ra.Close()
	plain, err := decompress(ctx, desc, content.NewReader(ra))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer plain.Close()
	digester := digest.Canonical.Digester()
	counted := &sizeReader{r: io.TeeReader(plain, digester.Hash())}
	if _, err := archive.Apply(ctx, dir, counted, opts...); err != nil {
		return ocispec.Descriptor{}, err
	}
	// What follows the archive's end still counts for its digest.
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return ocispec.Descriptor{}, err
	}
	if a.sync {
		if err := syncFS(dir); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	a.tracker.unpacked()
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: counted.n, Digest: digester.Digest()}, nil
}

// layerDir finds the folder to unpack into from what the overlay snapshotter
// would have us mount. The lowest layer is a plain folder, where a whiteout has
// nothing to hide; above it whiteouts become overlayfs's own.
func layerDir(mounts []mount.Mount) (string, []archive.ApplyOpt, error) {
	if len(mounts) != 1 {
		return "", nil, fmt.Errorf("layer with %d mounts", len(mounts))
	}
	m := mounts[0]
	if m.Type == "bind" {
		return m.Source, nil, nil
	}
	var upper string
	var lower []string
	for _, o := range m.Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			upper = dir
		}
		if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
			lower = strings.Split(dirs, ":")
		}
	}
	if upper == "" {
		return "", nil, fmt.Errorf("layer's %s mount has no upper folder", m.Type)
	}
	return upper, []archive.ApplyOpt{archive.WithConvertWhiteout(archive.OverlayConvertWhiteout), archive.WithParents(lower)}, nil
}

// decompress follows the media type's suffixes until a plain archive is left.
func decompress(ctx context.Context, desc ocispec.Descriptor, r io.Reader) (io.ReadCloser, error) {
	p := diff.NewProcessorChain(desc.MediaType, r)
	for {
		next, err := diff.GetProcessor(ctx, p, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: layer of type %s: %w", ErrUnsupported, desc.MediaType, err)
		}
		p = next
		if p.MediaType() == ocispec.MediaTypeImageLayer {
			return p, nil
		}
	}
}

type sizeReader struct {
	r io.Reader
	n int64
}

func (s *sizeReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	return n, err
}

// syncFS flushes the file system of dir: a layer is thousands of files, and one
// that the metadata names must survive a power failure whole.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", dir, err)
	}
	return nil
}
