package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	cimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportOptions vary an import.
type ImportOptions struct {
	// Names to record the image under, instead of those that the archive gives;
	// only for an archive of one image.
	Names    []string
	Platform string // "" = the store's
	Pinned   bool
	Progress func(Progress)
}

const importLock = "import"

// Import reads images from an OCI archive (a tar of an OCI layout) or a docker
// archive ("docker save"), plain or compressed, and unpacks them. All images of
// the archive become visible, or none.
func (s *Store) Import(ctx context.Context, r io.Reader, opts ImportOptions) ([]Image, error) {
	names, err := normalizeAll(opts.Names)
	if err != nil {
		return nil, err
	}
	platform, err := s.matcher(opts.Platform)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(s.context(ctx))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	// One import at a time: unfinished blobs have the names of the archive's files,
	// which are the same in many archives.
	if err := s.blobs.Lock(ctx, importLock); err != nil {
		return nil, classify("import", "", err)
	}
	defer s.blobs.Unlock(importLock)
	lease, err := s.newLease(ctx, "import")
	if err != nil {
		return nil, classify("import", "", err)
	}
	i := importer{store: s, names: names, platform: platform, pinned: opts.Pinned, tracker: newTracker(opts.Progress)}
	imgs, err := i.run(leases.WithLease(ctx, lease), r)
	err = classify("import", "", err)
	s.endLease(lease, func(ctx context.Context) {
		s.abortIngests(ctx, func(ref string) bool { return strings.Contains(ref, "/tar-") })
	}, err)
	if err != nil {
		return nil, err
	}
	i.tracker.done()
	return imgs, nil
}

func normalizeAll(names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		full, err := Normalize(n)
		if err != nil {
			return nil, err
		}
		if strings.Contains(full, "@") {
			return nil, &Error{Op: "import", Ref: n, Kind: ErrBadReference, Err: errors.New("the name for an import has a tag, not a digest")}
		}
		out = append(out, full)
	}
	return out, nil
}

type importer struct {
	store    *Store
	names    []string
	platform platforms.MatchComparer
	pinned   bool
	tracker  *tracker
}

// found is an image of an archive.
type found struct {
	target ocispec.Descriptor
	names  []string
	// synthetic is a manifest that was made here for a docker archive: no registry
	// knows its digest, so it gets no name with one.
	synthetic bool
}

func (i *importer) run(ctx context.Context, r io.Reader) ([]Image, error) {
	i.tracker.stage(Reading)
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArchive, err)
	}
	defer plain.Close()
	index, err := archive.ImportIndex(ctx, i.store.content, &countReads{r: plain, tracker: i.tracker})
	if err != nil {
		return nil, badArchive(err)
	}
	all, err := i.find(ctx, index)
	if err != nil {
		return nil, err
	}
	i.tracker.stage(Unpacking)
	imgs := make([]Image, len(all))
	for n, f := range all {
		if imgs[n], err = i.unpack(ctx, f.target); err != nil {
			return nil, err
		}
	}
	// Names come last, when nothing can go wrong any more but the disk.
	for n, f := range all {
		if err := i.store.record(ctx, &imgs[n], f.allNames(), i.pinned); err != nil {
			return nil, err
		}
	}
	return merge(imgs), nil
}

// merge drops the earlier states of an image that has several names.
func merge(imgs []Image) []Image {
	var out []Image
	for n, img := range imgs {
		if !slices.ContainsFunc(imgs[n+1:], func(later Image) bool { return later.ID == img.ID }) {
			out = append(out, img)
		}
	}
	return out
}

func (i *importer) unpack(ctx context.Context, target ocispec.Descriptor) (Image, error) {
	if err := i.store.ingest(ctx, target, i.platform, nil, i.tracker); err != nil {
		if errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "no match for platform") {
			// The blob that is missing may be there with other bytes, so under another digest.
			return Image{}, fmt.Errorf("%w: content that it refers to is missing or damaged: %s", ErrBadArchive, notFoundText(err))
		}
		return Image{}, err
	}
	return i.store.describe(ctx, target, i.platform)
}

// notFoundText is only the blob's digest out of an error about a missing blob.
func notFoundText(err error) string {
	text := strings.TrimSuffix(err.Error(), ": not found")
	if at := strings.LastIndex(text, "sha256:"); at >= 0 {
		return text[at:]
	}
	return text
}

// find reads which images the archive's index names.
func (i *importer) find(ctx context.Context, desc ocispec.Descriptor) ([]found, error) {
	data, err := content.ReadBlob(ctx, i.store.content, desc)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%w: index.json: %w", ErrBadArchive, err)
	}
	named := byTarget(index)
	if len(named) == 0 {
		return nil, fmt.Errorf("%w: there is no image in it", ErrBadArchive)
	}
	if len(i.names) > 0 {
		if len(named) > 1 {
			// Manifests for several platforms without an index around them: one image.
			if !samePlatformSet(named) {
				return nil, fmt.Errorf("%w: it holds %d images, so they can't be given one name", ErrBadArchive, len(named))
			}
			return []found{{target: desc, names: i.names}}, nil
		}
		named[0].names = i.names
		return named, nil
	}
	for n := range named {
		if named[n].names, err = fullNames(named[n].names); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// byTarget gathers the index's entries by what they point to.
func byTarget(index ocispec.Index) []found {
	var out []found
	for _, m := range index.Manifests {
		if _, referrer := m.Annotations[cimages.AnnotationManifestSubject]; referrer {
			continue
		}
		name := m.Annotations[cimages.AnnotationImageName]
		if name == "" {
			name = m.Annotations[ocispec.AnnotationRefName]
		}
		at := slices.IndexFunc(out, func(f found) bool { return f.target.Digest == m.Digest })
		if at < 0 {
			// Docker's manifest type inside of an index that we were given as OCI is
			// real; the one made from manifest.json has no type of its own to tell by,
			// but always Docker's uncompressed or gzip layers below an index without type.
			out = append(out, found{target: m, synthetic: index.MediaType == "" && m.MediaType == cimages.MediaTypeDockerSchema2Manifest})
			at = len(out) - 1
		}
		if name != "" {
			out[at].names = append(out[at].names, name)
		}
	}
	return out
}

// samePlatformSet is true for nameless manifests that each have another platform.
func samePlatformSet(all []found) bool {
	seen := map[string]bool{}
	for _, f := range all {
		if f.target.Platform == nil || len(f.names) > 0 {
			return false
		}
		p := platforms.Format(*f.target.Platform)
		if seen[p] {
			return false
		}
		seen[p] = true
	}
	return true
}

// fullNames normalizes what an archive calls an image. Some tools write only the
// tag there, which is no name.
func fullNames(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		if !strings.ContainsAny(n, ":/") {
			continue
		}
		full, err := Normalize(n)
		if err != nil {
			return nil, err
		}
		out = append(out, full)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// allNames adds the digested name of each repository.
func (f found) allNames() []string {
	names := slices.Clone(f.names)
	if f.synthetic {
		return names
	}
	for _, n := range f.names {
		if named, err := reference.ParseNormalizedNamed(n); err == nil {
			names = append(names, digestRef(named, f.target.Digest))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// badArchive finds the words for what the reader of archives says.
func badArchive(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, context.Canceled) {
		return err
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends too early", ErrBadArchive)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: it is not a tar file, or damaged", ErrBadArchive)
	case strings.Contains(err.Error(), "unrecognized image format"):
		return fmt.Errorf("%w: it has neither an oci-layout nor a manifest.json", ErrBadArchive)
	}
	return fmt.Errorf("%w: %w", ErrBadArchive, err)
}

// countReads shows how much of an archive was read.
type countReads struct {
	r       io.Reader
	tracker *tracker
}

func (c *countReads) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.tracker.downloaded(int64(n))
	return n, err
}

// OpenArchive opens what a user names as an archive: a file, or a folder that is
// an OCI layout, which is read as if it were archived.
func OpenArchive(path string) (io.ReadCloser, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return os.Open(path)
	}
	if _, err := os.Stat(filepath.Join(path, ocispec.ImageLayoutFile)); err != nil {
		return nil, &Error{Op: "import", Ref: path, Kind: ErrBadArchive, Err: fmt.Errorf("the folder has no %s file", ocispec.ImageLayoutFile)}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarLayout(w, path)) }()
	return r, nil
}

func tarLayout(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return tarFile(t, dir, path)
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func tarFile(t *tar.Writer, dir, path string) error {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: rel, Mode: 0o644, Size: fi.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
