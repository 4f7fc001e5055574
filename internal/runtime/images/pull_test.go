package images_test

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/internal/runtime/images/registrytest"
	"golang.org/x/sys/unix"
)

// openAt opens a store that is closed with the test.
func openAt(t *testing.T, config images.Config) *images.Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it makes files of several owners and mounts overlayfs")
	}
	config.NoSync = true
	s, err := images.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func open(t *testing.T) *images.Store { return openAt(t, images.Config{Root: t.TempDir()}) }

func build(t *testing.T, img imagetest.Image) *imagetest.Built {
	t.Helper()
	b, err := imagetest.Build(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mounted prepares the image for a container, mounts it and returns where.
func mounted(t *testing.T, s *images.Store, key, imageID string) string {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), key, imageID, images.RootFSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return mountAll(t, mounts)
}

func mountAll(t *testing.T, mounts []mount.Mount) string {
	t.Helper()
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatalf("mount %v: %v", mounts, err)
	}
	t.Cleanup(func() {
		if err := mount.UnmountAll(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// tricky is an image with everything that unpacking has to get right.
func tricky(docker bool) imagetest.Image {
	return imagetest.Image{Docker: docker, Config: ocispec.ImageConfig{User: "1000:1000", Cmd: []string{"/bin/app"}}, Layers: []imagetest.Layer{
		{
			{Path: "bin/"}, {Path: "etc/"}, {Path: "opaque/"}, {Path: "gone/"}, {Path: "tmp/", Mode: 0o1777},
			{Path: "bin/app", Body: []byte("one"), Mode: 0o4755},
			{Path: "bin/app2", Type: tar.TypeLink, Link: "bin/app", Mode: 0o4755},
			{Path: "etc/conf", Body: []byte("lower"), UID: 7, GID: 8, Mode: 0o640},
			{Path: "etc/old", Body: []byte("old")},
			{Path: "opaque/lower", Body: []byte("hidden")},
			{Path: "gone/file", Body: []byte("hidden")},
			{Path: "etc/cap", Body: []byte("x"), Xattr: map[string]string{"user.note": "kept"}},
			{Path: "escape", Type: tar.TypeSymlink, Link: "../../../../etc", Mode: 0o777},
			// Through the symlink: must stay inside of the image.
			{Path: "escape/inside", Body: []byte("safe")},
		},
		{
			{Path: "etc/.wh.old"},
			{Path: ".wh.gone"},
			{Path: "opaque/"}, {Path: "opaque/.wh..wh..opq"}, {Path: "opaque/upper", Body: []byte("seen")},
			{Path: "etc/conf", Body: []byte("upper"), UID: 7, GID: 8, Mode: 0o640},
		},
	}}
}

func checkTricky(t *testing.T, root string) {
	t.Helper()
	for path, want := range map[string]string{"bin/app": "one", "bin/app2": "one", "etc/conf": "upper", "opaque/upper": "seen", "etc/cap": "x", "etc/inside": "safe"} {
		if got := read(t, filepath.Join(root, path)); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"etc/old", "opaque/lower", "gone", "etc/.wh.old", "opaque/.wh..wh..opq"} {
		if _, err := os.Lstat(filepath.Join(root, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there (%v)", path, err)
		}
	}
	if _, err := os.Lstat("/etc/inside"); err == nil {
		t.Error("a layer wrote outside of its root")
	}
	stat := func(path string) *syscall.Stat_t {
		fi, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Sys().(*syscall.Stat_t)
	}
	if m := stat("bin/app").Mode & 0o7777; m != 0o4755 {
		t.Errorf("mode of a setuid program is %o", m)
	}
	if m := stat("tmp").Mode & 0o7777; m != 0o1777 {
		t.Errorf("mode of tmp is %o", m)
	}
	if st := stat("etc/conf"); st.Uid != 7 || st.Gid != 8 {
		t.Errorf("etc/conf belongs to %d:%d", st.Uid, st.Gid)
	}
	if stat("bin/app").Ino != stat("bin/app2").Ino {
		t.Error("the hard link became a copy")
	}
	buf := make([]byte, 16)
	n, err := unix.Getxattr(filepath.Join(root, "etc/cap"), "user.note", buf)
	if err != nil || string(buf[:n]) != "kept" {
		t.Errorf("extended attribute %q, %v", buf[:max(n, 0)], err)
	}
}

func TestPullUnpacks(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	for _, docker := range []bool{false, true} {
		t.Run(map[bool]string{false: "oci", true: "docker"}[docker], func(t *testing.T) {
			s := open(t)
			b := build(t, tricky(docker))
			ref := reg.Push(t, "team/tricky:v1", b)
			var last images.Progress
			img, err := s.Pull(t.Context(), ref, images.PullOptions{Progress: func(p images.Progress) { last = p }})
			if err != nil {
				t.Fatal(err)
			}
			want := images.Image{
				ID: b.ID(), Tags: []string{ref}, Digests: []string{reg.Host + "/team/tricky@" + b.Target.Digest.String()},
				User: "1000:1000", Platform: img.Platform, Size: img.Size, Created: img.Created, Manifest: b.Target.Digest,
			}
			if diff := cmp.Diff(want, img, cmp.AllowUnexported(images.Image{})); diff != "" {
				t.Errorf("image (-want +got):\n%s", diff)
			}
			if last.Stage != images.Done || last.Downloaded != last.Total || last.Total == 0 || last.Unpacked != 2 {
				t.Errorf("last progress: %+v", last)
			}
			checkTricky(t, mounted(t, s, "c1", img.ID))
		})
	}
}

func TestPullByDigestAndNames(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	s := open(t)
	b := build(t, tricky(false))
	tagged := reg.Push(t, "a/b:v1", b)
	byDigest := reg.Host + "/a/b@" + b.Target.Digest.String()
	img, err := s.Pull(t.Context(), byDigest, images.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Tags) != 0 || img.Ref() != byDigest {
		t.Errorf("tags %v, ref %s", img.Tags, img.Ref())
	}
	if _, err := s.Get(t.Context(), tagged); !errors.Is(err, images.ErrNotFound) || !errdefs.IsNotFound(err) {
		t.Errorf("tag that was not pulled: %v", err)
	}
	if _, err := s.Pull(t.Context(), tagged, images.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	hex := b.Config.Digest.Encoded()
	for _, ref := range []string{tagged, byDigest, b.ID(), hex, hex[:12], "sha256:" + hex[:8]} {
		if got, err := s.Get(t.Context(), ref); err != nil || got.ID != b.ID() {
			t.Errorf("Get(%s) = %s, %v", ref, got.ID, err)
		}
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("List: %v, %v", all, err)
	}
}

func TestPullIndexPicksPlatform(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	for _, docker := range []bool{false, true} {
		one := func(arch, text string) *imagetest.Built {
			return build(t, imagetest.Image{Docker: docker, Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []imagetest.Layer{{{Path: "arch", Body: []byte(text)}}}})
		}
		amd, arm := one("amd64", "A"), one("arm64", "B")
		index, err := imagetest.Index(docker, arm, amd)
		if err != nil {
			t.Fatal(err)
		}
		ref := reg.Push(t, "multi:1", index)
		for platform, want := range map[string]*imagetest.Built{"linux/amd64": amd, "linux/arm64": arm} {
			s := openAt(t, images.Config{Root: t.TempDir(), Platform: platform})
			img, err := s.Pull(t.Context(), ref, images.PullOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if img.ID != want.ID() || img.Digests[0] != reg.Host+"/multi@"+index.Target.Digest.String() {
				t.Errorf("%s docker=%v: got %+v", platform, docker, img)
			}
		}
		_, err = open(t).Pull(t.Context(), ref, images.PullOptions{Platform: "linux/s390x"})
		if !errors.Is(err, images.ErrNoPlatform) {
			t.Errorf("missing platform: %v", err)
		}
	}
}

func TestPullEmptyImage(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	s := open(t)
	ref := reg.Push(t, "empty:1", build(t, imagetest.Image{Config: ocispec.ImageConfig{Cmd: []string{"/x"}}}))
	img, err := s.Pull(t.Context(), ref, images.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root := mounted(t, s, "c", img.ID)
	if err := os.WriteFile(filepath.Join(root, "new"), []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	view, err := s.View(t.Context(), "v", img.ID, images.RootFSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(mountAll(t, view)); err != nil || len(entries) != 0 {
		t.Errorf("view of an empty image: %v, %v", entries, err)
	}
}

func TestPullWithCredentials(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{Username: "puller", Password: "secret"})
	s := open(t)
	ref := reg.Push(t, "private:1", build(t, tricky(false)))
	for name, auth := range map[string]*images.Auth{"none": nil, "wrong": {Username: "puller", Password: "wrong"}} {
		if _, err := s.Pull(t.Context(), ref, images.PullOptions{Auth: auth}); !errors.Is(err, images.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, _ := s.List(t.Context()); len(all) != 0 {
		t.Errorf("after refused pulls: %v", all)
	}
	if _, err := s.Pull(t.Context(), ref, images.PullOptions{Auth: &images.Auth{Username: "puller", Password: "secret"}}); err != nil {
		t.Error(err)
	}
}

func TestPullThroughMirror(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{Username: "m", Password: "p"})
	config := filepath.Join(t.TempDir(), "registries.yaml")
	text := "registries:\n  docker.io:\n    mirrors: ['http://127.0.0.1:1', 'http://" + reg.Host + "']\n    mirrorOnly: true\n  '" + reg.Host + "': {username: m, password: p}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, images.Config{Root: t.TempDir(), RegistriesConfigPath: config})
	b := build(t, tricky(false))
	reg.Push(t, "library/busybox:1.37", b)
	img, err := s.Pull(t.Context(), "busybox:1.37", images.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"docker.io/library/busybox:1.37"}, img.Tags); diff != "" {
		t.Error(diff)
	}
	_, err = s.Pull(t.Context(), "busybox:none", images.PullOptions{})
	if !errors.Is(err, images.ErrNotFound) {
		t.Errorf("missing tag: %v", err)
	}
}

func TestConcurrentPullsShare(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	s := open(t)
	refs := []string{reg.Push(t, "x:1", build(t, tricky(false))), reg.Push(t, "y:1", build(t, tricky(false)))}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, err := s.Pull(t.Context(), refs[i%2], images.PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || len(all[0].Tags) != 2 {
		t.Errorf("List: %+v, %v", all, err)
	}
}

func TestTagMoves(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	s := open(t)
	pull := func(text string) images.Image {
		ref := reg.Push(t, "moving:latest", build(t, imagetest.Image{Layers: []imagetest.Layer{{{Path: "v", Body: []byte(text)}}}}))
		img, err := s.Pull(t.Context(), ref, images.PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	first, second := pull("1"), pull("2")
	old, err := s.Get(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(old.Tags) != 0 || len(old.Digests) != 1 || len(second.Tags) != 1 {
		t.Errorf("old %+v, new %+v", old, second)
	}
	if got := read(t, filepath.Join(mounted(t, s, "c", old.ID), "v")); got != "1" {
		t.Errorf("the old image has %q", got)
	}
}

func TestBadReference(t *testing.T) {
	s := open(t)
	for _, ref := range []string{"", "docker.io/UPPER", "a b", "x@sha256:12", ":tag"} {
		if _, err := s.Pull(t.Context(), ref, images.PullOptions{}); !errors.Is(err, images.ErrBadReference) {
			t.Errorf("Pull(%q): %v", ref, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Pull(ctx, "127.0.0.1:1/x:1", images.PullOptions{}); err == nil {
		t.Error("pull with an ended context succeeded")
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Uid
}
