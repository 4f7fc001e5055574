package imagetest

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry of an archive.
type entry struct {
	name string
	data []byte
}

// layout is the OCI layout of b as files; name goes into the annotation that
// tools read it from, "" = none.
func (b *Built) layout(name string) ([]entry, error) {
	desc := b.Target.Descriptor
	if name != "" {
		desc.Annotations = map[string]string{"io.containerd.image.name": name, ocispec.AnnotationRefName: name}
	}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc}})
	if err != nil {
		return nil, err
	}
	out := []entry{{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {ocispec.ImageIndexFile, index}}
	for _, blob := range append([]Blob{b.Target}, b.Blobs...) {
		out = append(out, entry{"blobs/sha256/" + blob.Digest.Encoded(), blob.Data})
	}
	return out, nil
}

// WriteOCIArchive writes the image as a tar of an OCI layout.
func (b *Built) WriteOCIArchive(w io.Writer, name string) error {
	entries, err := b.layout(name)
	if err != nil {
		return err
	}
	return writeTar(w, entries)
}

// WriteOCILayout writes the image as an OCI layout into a folder.
func (b *Built) WriteOCILayout(dir, name string) error {
	entries, err := b.layout(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, e.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// WriteDockerArchive writes a single image as "docker save" does.
func (b *Built) WriteDockerArchive(w io.Writer, tags ...string) error {
	if b.Config.Data == nil {
		return fmt.Errorf("a docker archive holds no index")
	}
	config := b.Config.Digest.Encoded() + ".json"
	entries := []entry{{config, b.Config.Data}}
	var layers []string
	for i, plain := range b.plain {
		name := fmt.Sprintf("%s/layer.tar", strings.Repeat(fmt.Sprint(i%10), 64))
		layers = append(layers, name)
		entries = append(entries, entry{name, plain})
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": config, "RepoTags": tags, "Layers": layers}})
	if err != nil {
		return err
	}
	return writeTar(w, append(entries, entry{"manifest.json", manifest}))
}

func writeTar(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		if err := t.WriteHeader(&tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.data)), ModTime: time.Unix(1700000000, 0)}); err != nil {
			return err
		}
		if _, err := t.Write(e.data); err != nil {
			return err
		}
	}
	return t.Close()
}
