package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "crypto/sha256" // for go-digest
	"encoding/json"
	"fmt"
	"runtime"
	"sort"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's schema 2, for registries and archives of that kind.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// File is one entry of a layer. Type is a tar type; 0 = a regular file, or a
// folder when Path ends in a slash.
type File struct {
	Path  string
	Body  []byte
	Mode  int64 // permissions with setuid, setgid and sticky; 0 = 0644, folders and programs 0755
	Link  string
	Type  byte
	UID   int
	GID   int
	Xattr map[string]string
}

// Layer is the files of one layer, in order.
type Layer []File

// Image is what Build makes an image of.
type Image struct {
	Layers   []Layer
	Config   ocispec.ImageConfig
	Platform ocispec.Platform // zero = this machine's
	Docker   bool             // Docker's media types instead of OCI's
}

// Blob is content with its descriptor.
type Blob struct {
	ocispec.Descriptor
	Data []byte
}

// Built is an image, or an index of images, ready to be pushed or archived.
type Built struct {
	Target Blob   // the manifest or the index
	Blobs  []Blob // all others: manifests of an index, configs, layers; each once
	// DiffIDs and Config of a single image.
	Config  Blob
	DiffIDs []digest.Digest
	layers  []Blob
	plain   [][]byte
}

// Build makes the image. The same input gives the same bytes.
func Build(img Image) (*Built, error) {
	b := &Built{}
	config := ocispec.Image{Platform: img.Platform, Config: img.Config, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	if config.Architecture == "" {
		config.Platform = ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	created := time.Unix(1700000000, 0).UTC()
	config.Created = &created
	types := map[bool][3]string{false: {ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip}, true: {dockerManifest, dockerConfig, dockerLayer}}[img.Docker]
	for _, l := range img.Layers {
		plain, err := l.tar()
		if err != nil {
			return nil, err
		}
		b.plain = append(b.plain, plain)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		packed, err := compress(plain)
		if err != nil {
			return nil, err
		}
		b.layers = append(b.layers, blob(types[2], packed))
	}
	b.DiffIDs = config.RootFS.DiffIDs
	var err error
	if b.Config, err = jsonBlob(types[1], config); err != nil {
		return nil, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: types[0], Config: b.Config.Descriptor, Layers: []ocispec.Descriptor{}}
	for _, l := range b.layers {
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	if b.Target, err = jsonBlob(types[0], manifest); err != nil {
		return nil, err
	}
	platform := config.Platform
	b.Target.Platform = &platform
	b.Blobs = unique(append([]Blob{b.Config}, b.layers...))
	return b, nil
}

// Index puts images for several platforms under one name.
func Index(docker bool, images ...*Built) (*Built, error) {
	mediaType := ocispec.MediaTypeImageIndex
	if docker {
		mediaType = dockerIndex
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType}
	b := &Built{}
	for _, img := range images {
		index.Manifests = append(index.Manifests, img.Target.Descriptor)
		b.Blobs = append(b.Blobs, img.Blobs...)
		b.Blobs = append(b.Blobs, img.Target)
	}
	b.Blobs = unique(b.Blobs)
	var err error
	b.Target, err = jsonBlob(mediaType, index)
	return b, err
}

// ID is the image's ID as the CRI has it: the digest of its config.
func (b *Built) ID() string { return b.Config.Digest.String() }

// LayerDigests are those of the compressed layers.
func (b *Built) LayerDigests() (out []digest.Digest) {
	for _, l := range b.layers {
		out = append(out, l.Digest)
	}
	return out
}

func unique(blobs []Blob) []Blob {
	seen := map[digest.Digest]bool{}
	var out []Blob
	for _, b := range blobs {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			out = append(out, b)
		}
	}
	return out
}

func blob(mediaType string, data []byte) Blob {
	return Blob{Data: data, Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}}
}

func jsonBlob(mediaType string, v any) (Blob, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Blob{}, err
	}
	return blob(mediaType, data), nil
}

func compress(data []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// tar of the layer. Times are fixed and extended attributes sorted, so that the
// bytes depend on the content alone.
func (l Layer) tar() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range l {
		hdr := f.header()
		if err := w.WriteHeader(hdr); err != nil {
			return nil, fmt.Errorf("layer: %s: %w", f.Path, err)
		}
		if hdr.Typeflag == tar.TypeReg {
			if _, err := w.Write(f.Body); err != nil {
				return nil, fmt.Errorf("layer: %s: %w", f.Path, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (f File) header() *tar.Header {
	hdr := &tar.Header{
		Name: f.Path, Mode: f.Mode, Linkname: f.Link, Typeflag: f.Type, Uid: f.UID, Gid: f.GID,
		ModTime: time.Unix(1700000000, 0), Format: tar.FormatPAX,
	}
	if hdr.Typeflag == 0 {
		hdr.Typeflag = tar.TypeReg
		if f.Path[len(f.Path)-1] == '/' {
			hdr.Typeflag = tar.TypeDir
		}
	}
	if hdr.Typeflag == tar.TypeReg {
		hdr.Size = int64(len(f.Body))
	}
	if hdr.Mode == 0 {
		hdr.Mode = 0o644
		if hdr.Typeflag == tar.TypeDir {
			hdr.Mode = 0o755
		}
	}
	names := make([]string, 0, len(f.Xattr))
	for name := range f.Xattr {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords["SCHILY.xattr."+name] = f.Xattr[name]
	}
	return hdr
}
