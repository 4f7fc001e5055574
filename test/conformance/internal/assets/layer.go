package assets

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file of a layer. A path that ends in a slash is a folder; one with a link is a
// symbolic link; else the content is body, or that of the file from.
type file struct {
	path, link, body, from string
	mode                   int64
}

// layerTime is every file's, so that a layer's bytes depend on its content alone.
var layerTime = time.Unix(1700000000, 0)

// layer of files, uncompressed: it never leaves the machine.
func layer(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if err := f.write(w); err != nil {
			return nil, fmt.Errorf("layer: %s: %w", f.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(buf.Bytes(), types.OCIUncompressedLayer), nil
}

func (f file) write(w *tar.Writer) error {
	h := &tar.Header{Name: f.path, Mode: f.mode, ModTime: layerTime, Format: tar.FormatPAX}
	body := []byte(f.body)
	switch {
	case strings.HasSuffix(f.path, "/"):
		h.Typeflag = tar.TypeDir
		if h.Mode == 0 {
			h.Mode = 0o755
		}
	case f.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
	default:
		h.Typeflag = tar.TypeReg
		if f.from != "" {
			var err error
			if body, err = os.ReadFile(f.from); err != nil {
				return err
			}
		}
		h.Size = int64(len(body))
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := w.Write(body)
	return err
}
