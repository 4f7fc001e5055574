package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/internal/runtime/images/registrytest"
)

// registries are those in the names that the suite uses; one of ours stands for all.
var registries = []string{"registry.k8s.io", "k8s.gcr.io", "gcr.io", "public.ecr.aws"}

// digestName is the image that the suite pulls by digest.
const digestName = "test-image-digest"

// publish puts every image that the suite asks for into a registry on loopback,
// and returns the reference of the one that it pulls by digest.
func publish(ctx context.Context, r *registrytest.Registry, out string) (byDigest string, err error) {
	all, err := suiteImages(ctx, out)
	if err != nil {
		return "", err
	}
	for path, img := range all {
		if _, err := r.Upload(path, img); err != nil {
			return "", fmt.Errorf("push %s: %w", path, err)
		}
	}
	return "gcr.io/" + repository + digestName + "@" + all[repository+digestName].Target.Digest.String(), nil
}

// repository is the path of the suite's own images, on gcr.io.
const repository = "k8s-staging-cri-tools/"

// suiteImages are the images by their path in the registry, as critest's
// Dockerfiles and the test sources describe them.
func suiteImages(ctx context.Context, out string) (map[string]*imagetest.Built, error) {
	tools, err := imagetest.BusyboxLayer()
	if err != nil {
		return nil, err
	}
	more, err := imagetest.Programs("/usr/bin/pgrep", "/usr/bin/ipcs") // applets that Debian's busybox leaves out
	if err != nil {
		return nil, fmt.Errorf("install procps and util-linux: %w", err)
	}
	tools = append(tools, more...)
	all := map[string]*imagetest.Built{}
	// Each has a file of its own, so that no two are the same image.
	busybox := func(name string, config ocispec.ImageConfig, more ...imagetest.File) {
		if err != nil {
			return
		}
		config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		if config.Cmd == nil {
			config.Cmd = []string{"sh"}
		}
		own := append(imagetest.Layer{{Path: "image", Body: []byte(name + "\n")}}, more...)
		all[name], err = imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{tools, own}, Config: config})
	}
	busybox("e2e-test-images/busybox:1.29-2", ocispec.ImageConfig{})
	for _, name := range []string{"test-image-latest", "test-image-tag:test", "test-image-tag:all", digestName, "test-image-1", "test-image-2", "test-image-3", "test-image-tags:1"} {
		busybox(repository+name, ocispec.ImageConfig{})
	}
	busybox("e2e-test-images/httpd:2.4.39-4", ocispec.ImageConfig{Cmd: []string{"sh", "-c", "echo httpd serves; exec httpd -f -p 80 -h /www"}},
		imagetest.File{Path: "www/index.html", Body: []byte("It works!\n")})
	for name, user := range map[string]string{
		"test-image-user-uid": "1002", "test-image-user-username": "www-data",
		"test-image-user-uid-group": "1003:users", "test-image-user-username-group": "www-data:100",
	} {
		busybox(repository+name, ocispec.ImageConfig{User: user})
	}
	busybox(repository+"test-image-predefined-group", ocispec.ImageConfig{User: "1000"},
		imagetest.File{Path: "etc/passwd", Body: []byte("root:x:0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/home/default-user:/bin/sh\n")},
		imagetest.File{Path: "etc/group", Body: []byte("root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")})
	for _, tag := range []string{"1.35.0-glibc", "1-uclibc", "1", "1-glibc", "1-musl"} {
		busybox("docker/library/busybox:"+tag, ocispec.ImageConfig{})
	}
	if err != nil {
		return nil, err
	}
	// Names of one image.
	all[repository+"test-image-tags:2"] = all[repository+"test-image-tags:1"]
	all[repository+"test-image-tags:3"] = all[repository+"test-image-tags:1"]
	if all["e2e-test-images/nonewprivs:1.3"], err = privilegesImage(ctx, out); err != nil {
		return nil, err
	}
	if all["pause:3.9"], err = pauseImage(); err != nil {
		return nil, err
	}
	if all["e2e-test-images/nginx:1.14-2"], err = imagetest.Nginx(); err != nil {
		return nil, err
	}
	all[repository+"hostnet-nginx-"+runtime.GOARCH], err = imagetest.NginxAt(hostNginxPort)
	return all, err
}

// privilegesImage holds a program that is setuid root.
func privilegesImage(ctx context.Context, out string) (*imagetest.Built, error) {
	path := filepath.Join(out, "nonewprivs")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./test/critest/nonewprivs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("nonewprivs: %w\n%s", err, text)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return imagetest.Build(imagetest.Image{
		Layers: []imagetest.Layer{{{Path: "nonewprivs", Body: program, Mode: 0o4755}}},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/nonewprivs"}},
	})
}

// hostNginxPort is the suite's webServerHostNetContainerPort.
const hostNginxPort = 12003

// pauseImage holds our own pause.
func pauseImage() (*imagetest.Built, error) {
	program, err := os.ReadFile(filepath.Join("bin", "pause"))
	if err != nil {
		return nil, fmt.Errorf("%w; run `make build` first", err)
	}
	return imagetest.Build(imagetest.Image{
		Layers: []imagetest.Layer{{{Path: "pause", Body: program, Mode: 0o755}}},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"},
	})
}
