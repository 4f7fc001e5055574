// Command generate builds cmd/quickstart and writes it as the image of the first
// pod: an OCI archive, compressed when the file's name ends in .gz.
package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-project/proa/internal/quickstart"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

func main() {
	log.SetFlags(0)
	out := flag.String("o", "bin/quickstart.tar", "file to write")
	arch := flag.String("arch", runtime.GOARCH, "processor to build for")
	flag.Parse()
	if err := generate(*out, *arch); err != nil {
		log.Fatal("quickstart image: ", err)
	}
}

func generate(out, arch string) error {
	program, err := build(arch)
	if err != nil {
		return err
	}
	img, err := imagetest.Build(imagetest.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: arch},
		Layers: []imagetest.Layer{{
			{Path: "etc/"}, {Path: "etc/quickstart/"}, {Path: "etc/podinfo/"},
			{Path: "quickstart", Body: program, Mode: 0o755},
		}},
		Config: ocispec.ImageConfig{
			User: "65532:65532", Entrypoint: []string{"/quickstart"},
			ExposedPorts: map[string]struct{}{fmt.Sprintf("%d/tcp", quickstart.Port): {}},
		},
	})
	if err != nil {
		return err
	}
	return write(out, img)
}

func build(arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "quickstart-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "quickstart")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin, "github.com/proa-project/proa/cmd/quickstart")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(bin)
}

// write replaces the file only when all of it is written.
func write(path string, img *imagetest.Built) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".quickstart-")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	var w io.WriteCloser = f
	if strings.HasSuffix(path, ".gz") {
		w = gzip.NewWriter(f)
	}
	if err := img.WriteOCIArchive(w, quickstart.Ref); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
