package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	cimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullOptions vary a pull.
type PullOptions struct {
	Auth     *Auth  // nil = those of the registries file, or none
	Platform string // "" = the store's
	Pinned   bool   // keep it out of the way of image garbage collection
	// Progress is called now and then, never concurrently; it must not block.
	Progress func(Progress)
}

// Pull brings an image here by tag or digest and unpacks it. The same pull asked
// for twice at once is done once. An interrupted download is continued by the
// next Pull of the same image; any other failure leaves nothing behind.
func (s *Store) Pull(ctx context.Context, ref string, opts PullOptions) (Image, error) {
	named, err := parse(ref)
	if err != nil {
		return Image{}, err
	}
	platform, err := s.matcher(opts.Platform)
	if err != nil {
		return Image{}, err
	}
	p := pull{store: s, named: named, platform: platform, platformName: opts.Platform, auth: opts.Auth, pinned: opts.Pinned}
	img, err := s.flights.do(ctx, s.ctx, p.key(), opts.Progress, p.run)
	return img, classify("pull", named.String(), err)
}

// pull is one flight.
type pull struct {
	store        *Store
	named        reference.Named
	platform     platforms.MatchComparer
	platformName string
	auth         *Auth
	pinned       bool
}

func (p *pull) key() string {
	return strings.Join([]string{p.named.String(), p.platformName, p.auth.fingerprint()}, "|")
}

func (p *pull) run(ctx context.Context, report func(Progress)) (Image, error) {
	img, err := p.fly(ctx, newTracker(report))
	return img, classify("pull", p.named.String(), err)
}

func (p *pull) fly(ctx context.Context, t *tracker) (Image, error) {
	s := p.store
	registries, err := loadRegistries(s.registriesPaths())
	if err != nil {
		return Image{}, err
	}
	r := &remote{registries: registries, auth: p.auth}
	defer r.close()
	resolver := r.resolver()
	t.stage(Resolving)
	_, target, err := resolver.Resolve(ctx, p.named.String())
	if err != nil {
		return Image{}, p.explain(registries, err)
	}
	if target.MediaType == cimages.MediaTypeDockerSchema1Manifest {
		return Image{}, fmt.Errorf("%w: it has the Docker schema 1 format of before 2017 and must be rebuilt", ErrUnsupported)
	}
	if img, ok, err := p.present(ctx, target); ok || err != nil {
		t.done()
		return img, err
	}
	fetcher, err := resolver.Fetcher(ctx, p.named.String())
	if err != nil {
		return Image{}, err
	}
	return p.transfer(ctx, target, countingFetcher{Fetcher: fetcher, tracker: t, stall: s.config.StallTimeout}, t)
}

// present is the short way of a pull that finds nothing new, which is what most
// pulls by the policy Always find: at most a name is added.
func (p *pull) present(ctx context.Context, target ocispec.Descriptor) (Image, bool, error) {
	s := p.store
	img, err := s.Get(ctx, digestRef(p.named, target.Digest))
	if errdefs.IsNotFound(err) {
		return Image{}, false, nil
	}
	if err != nil {
		return Image{}, false, err
	}
	had, err := platforms.Parse(img.Platform)
	if err != nil || !p.platform.Match(had) {
		return Image{}, false, err
	}
	names := p.names(target.Digest)
	have := slices.Concat(img.Digests, img.Tags)
	missing := slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(have, n) })
	if !missing && (img.Pinned || !p.pinned) {
		return img, true, nil
	}
	here, err := s.rename(ctx, &img, names, p.pinned)
	return img, here, err
}

// transfer brings the content here, under a lease until it is recorded.
func (p *pull) transfer(ctx context.Context, target ocispec.Descriptor, fetcher remotes.Fetcher, t *tracker) (Image, error) {
	s := p.store
	lease, err := s.resume.take(ctx, s, p.key())
	if err != nil {
		return Image{}, err
	}
	t.stage(Downloading)
	seen := &seenBlobs{}
	img, err := p.ingest(leases.WithLease(ctx, lease), target, seen.wrap(remotes.FetchHandler(s.content, fetcher)), t)
	err = classify("pull", p.named.String(), err)
	if err != nil && resumable(err) && s.ctx.Err() == nil {
		s.resume.keep(s, p.key(), lease)
		return Image{}, err
	}
	s.endLease(lease, func(ctx context.Context) { s.abortBlobs(ctx, seen.digests()) }, err)
	if err != nil {
		return Image{}, err
	}
	t.done()
	return img, nil
}

func (p *pull) ingest(ctx context.Context, target ocispec.Descriptor, fetch cimages.HandlerFunc, t *tracker) (Image, error) {
	s := p.store
	if err := s.ingest(ctx, target, p.platform, fetch, t); err != nil {
		return Image{}, err
	}
	img, err := s.describe(ctx, target, p.platform)
	if err != nil {
		return Image{}, err
	}
	return img, s.record(ctx, &img, p.names(target.Digest), p.pinned)
}

// names under which a pulled image is recorded.
func (p *pull) names(target digest.Digest) []string {
	names := []string{digestRef(p.named, target)}
	if tagged, ok := p.named.(reference.Tagged); ok {
		names = append(names, reference.TrimNamed(p.named).String()+":"+tagged.Tag())
	}
	return names
}

// explain says which servers were asked: with mirrors it is not what the name says.
func (p *pull) explain(registries Registries, err error) error {
	endpoints, epErr := registries.endpoints(reference.Domain(p.named))
	if epErr != nil {
		return errors.Join(err, epErr)
	}
	asked := make([]string, 0, len(endpoints))
	for _, e := range endpoints {
		asked = append(asked, e.Scheme+"://"+e.Host)
	}
	return fmt.Errorf("asked %s: %w", strings.Join(asked, ", then "), err)
}

// seenBlobs remembers what a pull may have left half-written.
type seenBlobs struct {
	mu  sync.Mutex
	all map[digest.Digest]struct{}
}

func (b *seenBlobs) wrap(h cimages.HandlerFunc) cimages.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		b.mu.Lock()
		if b.all == nil {
			b.all = map[digest.Digest]struct{}{}
		}
		b.all[desc.Digest] = struct{}{}
		b.mu.Unlock()
		return h(ctx, desc)
	}
}

func (b *seenBlobs) digests() []digest.Digest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.all))
}
