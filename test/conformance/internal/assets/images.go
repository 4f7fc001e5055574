package assets

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// makeImages writes all images into one OCI layout, in which they share layers.
func (b *builder) makeImages(ctx context.Context, dir string) error {
	bases, err := b.makeBases(ctx)
	if err != nil {
		return err
	}
	out, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	for _, r := range recipes(b.programs(), b.source) {
		image, err := r.make(bases)
		if err != nil {
			return fmt.Errorf("image %s: %w", name(r.image), err)
		}
		annotations := map[string]string{"io.containerd.image.name": name(r.image), "org.opencontainers.image.ref.name": name(r.image)}
		if err := out.AppendImage(image, layout.WithAnnotations(annotations)); err != nil {
			return fmt.Errorf("image %s: %w", name(r.image), err)
		}
	}
	return nil
}

func (r recipe) make(bases map[base]v1.Layer) (v1.Image, error) {
	config := r.config
	// Two tags of one content are two images to the suite: tests change a pod from
	// one to the other and look for the new one's name.
	config.Labels = map[string]string{"org.opencontainers.image.title": name(r.image)}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, Config: config, RootFS: v1.RootFS{Type: "layers"}, Created: v1.Time{Time: layerTime},
	})
	if err != nil {
		return nil, err
	}
	var layers []v1.Layer
	if r.base != scratch {
		layers = append(layers, bases[r.base])
	}
	if len(r.files) > 0 {
		top, err := layer(r.files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, top)
	}
	return mutate.AppendLayers(image, layers...)
}

func (b *builder) makeBases(ctx context.Context) (map[base]v1.Layer, error) {
	archive, err := b.debian(ctx)
	if err != nil {
		return nil, err
	}
	onDebian, err := tarball.LayerFromFile(archive)
	if err != nil {
		return nil, fmt.Errorf("debian layer: %w", err)
	}
	onBusybox, err := b.busyboxLayer(ctx)
	if err != nil {
		return nil, fmt.Errorf("busybox layer: %w", err)
	}
	return map[base]v1.Layer{debian: onDebian, busybox: onBusybox}, nil
}

func (b *builder) busyboxLayer(ctx context.Context) (v1.Layer, error) {
	program := filepath.Join(b.programs(), "busybox")
	applets, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, err
	}
	return layer(busyboxFiles(program, strings.Fields(string(applets))))
}

// release of Debian that the images are made of.
const release = "bookworm"

// debian is the root file system of a minimal Debian with all that the images on
// it need: 200 MB, made once and then kept.
func (b *builder) debian(ctx context.Context) (string, error) {
	archive := filepath.Join(b.cache, "debian-"+digest(strings.Join(append(packages, accounts...), "\n"))+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	args := []string{"--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","), "--skip=output/dev"}
	for _, unread := range []string{"doc", "info", "locale", "man"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+unread+"/*")
	}
	for _, command := range accounts {
		args = append(args, `--customize-hook=chroot "$1" `+command)
	}
	partial := archive + ".partial"
	if err := b.run(ctx, "the Debian layer", "mmdebstrap", append(args, "--format=tar", release, partial)...); err != nil {
		return "", err
	}
	return archive, os.Rename(partial, archive)
}
