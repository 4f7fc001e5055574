package registry

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

func TestPull(t *testing.T) {
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.AppendImage(image, layout.WithAnnotations(map[string]string{nameAnnotation: "registry.example/some/app:1.2"})); err != nil {
		t.Fatal(err)
	}
	r, err := Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		code      int
		length    int64
		mediaType string
	}{
		"":                                      {code: 200},
		"some/app/manifests/1.2":                {200, int64(len(raw)), string(manifest.MediaType)},
		"some/app/manifests/" + digest.String(): {200, int64(len(raw)), string(manifest.MediaType)},
		"some/app/blobs/" + manifest.Layers[0].Digest.String():     {200, manifest.Layers[0].Size, "application/octet-stream"},
		"some/app/manifests/1.3":                                   {code: 404},
		"other/app/manifests/1.2":                                  {code: 404},
		"some/app/manifests/" + manifest.Layers[0].Digest.String(): {code: 404},
		"some/app/blobs/sha256:../../index.json":                   {code: 404},
	} {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v2/%s", r.Port, path))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != want.code || want.code == 200 && int64(len(body)) != want.length {
			t.Errorf("%s: %s, %d bytes; want %+v", path, answer.Status, len(body), want)
		}
		if got := answer.Header.Get("Content-Type"); want.mediaType != "" && got != want.mediaType {
			t.Errorf("%s: %s, want %s", path, got, want.mediaType)
		}
	}
}
