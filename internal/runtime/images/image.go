package images

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	cimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// Image is one image: what its config's digest names, under all its names.
type Image struct {
	ID       string        `json:"id"`          // digest of the config
	Tags     []string      `json:"repoTags"`    // like docker.io/library/busybox:1.37
	Digests  []string      `json:"repoDigests"` // like docker.io/library/busybox@sha256:…
	Size     int64         `json:"size"`        // bytes on disk, unpacked
	User     string        `json:"user,omitempty"`
	Platform string        `json:"platform"`
	Pinned   bool          `json:"pinned,omitempty"`
	Created  time.Time     `json:"importedAt"` // when it came here
	Manifest digest.Digest `json:"manifest"`   // of the platform

	target ocispec.Descriptor // of that manifest; only while it is made
}

// Ref is what a pod's status shows as imageID: the first digested name, or the ID.
func (i Image) Ref() string {
	if len(i.Digests) > 0 {
		return i.Digests[0]
	}
	return i.ID
}

// An image is recorded once for each name, and once under its ID so that it stays
// when its tag moves on. All records of an image carry the same labels, which is
// all that a listing needs.
const (
	labelID       = "proa.dev/id"
	labelManifest = "proa.dev/manifest"
	labelSize     = "proa.dev/size"
	labelUser     = "proa.dev/user"
	labelPlatform = "proa.dev/platform"
	labelPinned   = "proa.dev/pinned"

	heldPrefix = "held@" // an image that was removed while containers run on it
)

func (i Image) labels() map[string]string {
	l := map[string]string{
		labelID: i.ID, labelManifest: i.Manifest.String(), labelSize: strconv.FormatInt(i.Size, 10),
		labelPlatform: i.Platform,
	}
	if i.User != "" {
		l[labelUser] = i.User
	}
	if i.Pinned {
		l[labelPinned] = "true"
	}
	return l
}

// fromRecord reads what the labels say.
func fromRecord(r cimages.Image) Image {
	size, _ := strconv.ParseInt(r.Labels[labelSize], 10, 64)
	return Image{
		ID: r.Labels[labelID], Size: size, User: r.Labels[labelUser], Platform: r.Labels[labelPlatform],
		Pinned: r.Labels[labelPinned] == "true", Created: r.CreatedAt, Manifest: digest.Digest(r.Labels[labelManifest]),
	}
}

// describe reads from the content what target is on the platform.
func (s *Store) describe(ctx context.Context, target ocispec.Descriptor, platform platforms.MatchComparer) (Image, error) {
	desc, err := s.pick(ctx, target, platform)
	if err != nil {
		return Image{}, err
	}
	parts, err := s.read(ctx, desc)
	if err != nil {
		return Image{}, err
	}
	img := Image{
		ID: parts.manifest.Config.Digest.String(), Manifest: desc.Digest, target: desc, User: parts.config.Config.User,
		Platform: platforms.Format(platforms.Normalize(parts.config.Platform)),
		Size:     desc.Size + parts.manifest.Config.Size,
	}
	for _, chain := range identity.ChainIDs(slices.Clone(parts.config.RootFS.DiffIDs)) {
		usage, err := s.layers.Usage(ctx, chain.String())
		if err != nil {
			return Image{}, fmt.Errorf("size of layer %s: %w", chain, err)
		}
		img.Size += usage.Size
	}
	return img, nil
}

// pick follows indexes to the manifest of the platform, by the same order of
// preference as the walk that fetched it.
func (s *Store) pick(ctx context.Context, desc ocispec.Descriptor, platform platforms.MatchComparer) (ocispec.Descriptor, error) {
	if !cimages.IsIndexType(desc.MediaType) {
		return desc, nil
	}
	children := cimages.LimitManifests(cimages.FilterPlatforms(cimages.ChildrenHandler(s.content), platform), platform, 1)
	found, err := children(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.pick(ctx, found[0], platform)
}

type parts struct {
	manifest ocispec.Manifest
	config   ocispec.Image
}

func (s *Store) read(ctx context.Context, manifest ocispec.Descriptor) (parts, error) {
	var p parts
	if !cimages.IsManifestType(manifest.MediaType) {
		return p, fmt.Errorf("%w: its type is %q", ErrUnsupported, manifest.MediaType)
	}
	if err := s.readJSON(ctx, manifest, &p.manifest); err != nil {
		return p, fmt.Errorf("manifest: %w", err)
	}
	if !cimages.IsConfigType(p.manifest.Config.MediaType) {
		return p, fmt.Errorf("%w: it is an artifact of type %q, not a container image", ErrUnsupported, p.manifest.Config.MediaType)
	}
	if err := s.readJSON(ctx, p.manifest.Config, &p.config); err != nil {
		return p, fmt.Errorf("config: %w", err)
	}
	return p, nil
}

func (s *Store) readJSON(ctx context.Context, desc ocispec.Descriptor, into any) error {
	data, err := content.ReadBlob(ctx, s.content, desc)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// record makes the image visible under names, and under its ID, in one step.
func (s *Store) record(ctx context.Context, img *Image, names []string, pinned bool) error {
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	return s.recordLocked(ctx, img, names, pinned)
}

// rename gives an image that is here more names; false when it was removed.
func (s *Store) rename(ctx context.Context, img *Image, names []string, pinned bool) (bool, error) {
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	rec, err := s.names.Get(ctx, img.ID)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	img.target = rec.Target
	return true, s.recordLocked(ctx, img, names, pinned)
}

func (s *Store) recordLocked(ctx context.Context, img *Image, names []string, pinned bool) error {
	if old, err := s.names.Get(ctx, img.ID); err == nil {
		pinned = pinned || fromRecord(old).Pinned
	}
	img.Pinned = pinned
	err := s.db.Update(func(tx *bolt.Tx) error {
		ctx := boltutil.WithTransaction(ctx, tx)
		for _, name := range append([]string{img.ID}, names...) {
			rec := cimages.Image{Name: name, Labels: img.labels(), Target: img.target}
			if err := s.put(ctx, rec); err != nil {
				return err
			}
		}
		err := s.names.Delete(ctx, heldPrefix+img.ID)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.index.forget()
	s.loaded.drop(img.ID)
	*img, err = s.Get(ctx, img.ID)
	return err
}

func (s *Store) put(ctx context.Context, rec cimages.Image) error {
	_, err := s.names.Update(ctx, rec)
	if errdefs.IsNotFound(err) {
		_, err = s.names.Create(ctx, rec)
	}
	return err
}

// List gives all images, the names of each sorted, ordered by ID.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	x, err := s.index.get(s.context(ctx), s.names)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	out := make([]Image, 0, len(x.images))
	for _, img := range x.images {
		out = append(out, img.clone())
	}
	return out, nil
}

func (i Image) clone() Image {
	i.Tags, i.Digests = slices.Clone(i.Tags), slices.Clone(i.Digests)
	return i
}

// imageIndex is all records in memory, for every start of a container asks. Only
// this process writes records, and forgets the index when it does.
type imageIndex struct {
	mu  sync.Mutex
	now *indexed
}

// indexed is read-only.
type indexed struct {
	images []Image           // ordered by ID
	byID   map[string]int    // place in images
	byName map[string]string // any name → ID
}

func (x *imageIndex) get(ctx context.Context, names cimages.Store) (*indexed, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now != nil {
		return x.now, nil
	}
	records, err := names.List(ctx)
	if err != nil {
		return nil, err
	}
	now := &indexed{images: group(records), byID: map[string]int{}, byName: map[string]string{}}
	for at, img := range now.images {
		now.byID[img.ID] = at
		for _, name := range slices.Concat(img.Tags, img.Digests) {
			now.byName[name] = img.ID
		}
	}
	x.now = now
	return now, nil
}

// forget is called after a write.
func (x *imageIndex) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = nil
}

// group gathers the records of each image.
func group(records []cimages.Image) []Image {
	byID := map[string]*Image{}
	for _, r := range records {
		if strings.HasPrefix(r.Name, heldPrefix) {
			continue
		}
		img, ok := byID[r.Labels[labelID]]
		if !ok {
			first := fromRecord(r)
			img = &first
			byID[img.ID] = img
		}
		switch {
		case r.Name == img.ID:
			img.Created = r.CreatedAt
		case strings.Contains(r.Name, "@"):
			img.Digests = append(img.Digests, r.Name)
		default:
			img.Tags = append(img.Tags, r.Name)
		}
	}
	out := make([]Image, 0, len(byID))
	for _, img := range byID {
		slices.Sort(img.Tags)
		slices.Sort(img.Digests)
		out = append(out, *img)
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Get finds an image by name, digested name, ID, or the beginning of an ID.
// errors.Is(err, ErrNotFound) when it is not here.
func (s *Store) Get(ctx context.Context, ref string) (Image, error) {
	x, err := s.index.get(s.context(ctx), s.names)
	if err != nil {
		return Image{}, fmt.Errorf("find image %s: %w", ref, err)
	}
	id, err := x.lookup(ref)
	if err != nil {
		return Image{}, err
	}
	return x.images[x.byID[id]].clone(), nil
}

// lookup turns what users and the CRI write into the ID of an image that is here.
func (x *indexed) lookup(ref string) (string, error) {
	if id, ok := asID(ref); ok {
		if _, ok := x.byID[id]; !ok {
			return "", notFound(ref)
		}
		return id, nil
	}
	named, err := parse(ref)
	if err != nil {
		return x.lookupShort(ref, err)
	}
	if id, ok := x.byName[named.String()]; ok {
		return id, nil
	}
	return x.lookupShort(ref, notFound(named.String()))
}

// lookupShort takes ref for the beginning of an ID; otherwise is the error when
// it is none.
func (x *indexed) lookupShort(ref string, otherwise error) (string, error) {
	if !shortID.MatchString(ref) {
		return "", otherwise
	}
	prefix := "sha256:" + strings.TrimPrefix(ref, "sha256:")
	var ids []string
	for id := range x.byID {
		if strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return "", otherwise
	case 1:
		return ids[0], nil
	}
	return "", &Error{Op: "find image", Ref: ref, Kind: ErrBadReference, Err: fmt.Errorf("%d images have an ID that begins so", len(ids))}
}

func notFound(ref string) error { return &Error{Op: "find image", Ref: ref, Kind: ErrNotFound} }

// Remove forgets an image under all its names; one that is not here is no error.
// Its disk space is freed in the background, and not before the last container
// on it is gone.
func (s *Store) Remove(ctx context.Context, ref string) error {
	img, err := s.Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.remove(s.context(ctx), img.ID, func(string) bool { return true })
}

// Untag takes one name away, and the image with it when that was its last. An
// image given by ID or digest goes with all its names, as by Remove. It tells what
// went.
func (s *Store) Untag(ctx context.Context, ref string) (gone []string, err error) {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	all := append(append([]string{}, img.Tags...), img.Digests...)
	named, err := parse(ref)
	if err != nil || len(img.Tags) < 2 || !slices.Contains(img.Tags, named.String()) {
		return append(all, img.ID), s.Remove(ctx, img.ID)
	}
	tag := named.String()
	drop := []string{tag}
	// The digested name of a repository goes with the repository's last tag.
	if !slices.ContainsFunc(img.Tags, func(t string) bool { return t != tag && sameRepository(t, named) }) {
		for _, d := range img.Digests {
			if sameRepository(d, named) {
				drop = append(drop, d)
			}
		}
	}
	return drop, s.remove(s.context(ctx), img.ID, func(name string) bool { return slices.Contains(drop, name) })
}

func sameRepository(name string, named reference.Named) bool {
	other, err := reference.ParseNormalizedNamed(name)
	return err == nil && other.Name() == named.Name()
}

// remove takes away the records of the image that match, in one step.
func (s *Store) remove(ctx context.Context, id string, match func(name string) bool) error {
	if err := s.soil(); err != nil {
		return err
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	records, err := s.names.List(ctx, fmt.Sprintf("labels.%q==%s", labelID, id))
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		ctx := boltutil.WithTransaction(ctx, tx)
		for _, r := range records {
			if !match(r.Name) || strings.HasPrefix(r.Name, heldPrefix) {
				continue
			}
			if r.Name == id && s.held.users(id) > 0 {
				keep := r
				keep.Name = heldPrefix + id
				if err := s.put(ctx, keep); err != nil {
					return err
				}
			}
			if err := s.names.Delete(ctx, r.Name); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	s.index.forget()
	s.loaded.drop(id)
	s.collect()
	return nil
}

// loadedImages remembers what starting a container needs of images.
type loadedImages struct {
	mu  sync.Mutex
	all map[string]*loadedImage
}

// loadedImage is read-only.
type loadedImage struct {
	config ocispec.Image
	dirs   []string // of the layers, the uppermost first
}

func (l *loadedImages) get(id string) *loadedImage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[id]
}

func (l *loadedImages) put(id string, img *loadedImage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*loadedImage{}
	}
	l.all[id] = img
}

func (l *loadedImages) drop(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, id)
}

// load reads an image's config and where its layers are, once. held also finds
// an image that was removed while in use.
func (s *Store) load(ctx context.Context, id string, held bool) (*loadedImage, error) {
	if img := s.loaded.get(id); img != nil {
		return img, nil
	}
	rec, err := s.names.Get(ctx, id)
	if errdefs.IsNotFound(err) && held {
		rec, err = s.names.Get(ctx, heldPrefix+id)
	}
	if errdefs.IsNotFound(err) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, err
	}
	p, err := s.read(ctx, rec.Target)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", id, err)
	}
	img := &loadedImage{config: p.config}
	for chain := identity.ChainID(slices.Clone(p.config.RootFS.DiffIDs)).String(); chain != ""; {
		info, err := s.layers.Stat(ctx, chain)
		if err != nil {
			return nil, fmt.Errorf("image %s: layer %s: %w", id, chain, err)
		}
		img.dirs = append(img.dirs, info.Labels["containerd.io/snapshot/overlay.upperdir"])
		chain = info.Parent
	}
	if !strings.HasPrefix(rec.Name, heldPrefix) {
		s.loaded.put(id, img)
	}
	return img, nil
}

// Config of an image by ID, as its author wrote it.
func (s *Store) Config(ctx context.Context, id string) (ocispec.Image, error) {
	img, err := s.load(s.context(ctx), id, false)
	if err != nil {
		return ocispec.Image{}, err
	}
	return img.config, nil
}
