package images_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

func ociArchive(t *testing.T, b *imagetest.Built, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.WriteOCIArchive(&buf, name); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func dockerArchive(t *testing.T, b *imagetest.Built, tags ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.WriteDockerArchive(&buf, tags...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gz(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestImport(t *testing.T) {
	b := build(t, tricky(false))
	arm := build(t, imagetest.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}})
	index, err := imagetest.Index(false, arm, b)
	if err != nil {
		t.Fatal(err)
	}
	digested := "docker.io/library/app@" + b.Target.Digest.String()
	for name, c := range map[string]struct {
		archive       []byte
		names         []string
		tags, digests []string
	}{
		"oci":               {archive: ociArchive(t, b, "app:1"), tags: []string{"docker.io/library/app:1"}, digests: []string{digested}},
		"oci compressed":    {archive: gz(t, ociArchive(t, b, "app:1")), tags: []string{"docker.io/library/app:1"}, digests: []string{digested}},
		"oci renamed":       {archive: ociArchive(t, b, "app:1"), names: []string{"app", "r.example/x:2"}, tags: []string{"docker.io/library/app:latest", "r.example/x:2"}, digests: []string{digested, "r.example/x@" + b.Target.Digest.String()}},
		"oci only a tag":    {archive: ociArchive(t, b, "latest")},
		"oci no name":       {archive: ociArchive(t, b, "")},
		"oci index":         {archive: ociArchive(t, index, "app:1"), tags: []string{"docker.io/library/app:1"}, digests: []string{"docker.io/library/app@" + index.Target.Digest.String()}},
		"docker":            {archive: dockerArchive(t, b, "app:1", "app:2"), tags: []string{"docker.io/library/app:1", "docker.io/library/app:2"}},
		"docker compressed": {archive: gz(t, dockerArchive(t, b, "app:1")), tags: []string{"docker.io/library/app:1"}},
		"docker renamed":    {archive: dockerArchive(t, b), names: []string{"app"}, tags: []string{"docker.io/library/app:latest"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			imgs, err := s.Import(t.Context(), bytes.NewReader(c.archive), images.ImportOptions{Names: c.names})
			if err != nil {
				t.Fatal(err)
			}
			all, err := s.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all, imgs, cmp.AllowUnexported(images.Image{})); diff != "" {
				t.Errorf("Import told something else than List (-list +import):\n%s", diff)
			}
			if len(all) != 1 || all[0].ID != b.ID() {
				t.Fatalf("List: %+v", all)
			}
			if diff := cmp.Diff([2][]string{c.tags, c.digests}, [2][]string{all[0].Tags, all[0].Digests}); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			checkTricky(t, mounted(t, s, "c", all[0].ID))
		})
	}
}

func TestImportLayoutFolder(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	b := build(t, tricky(false))
	if err := b.WriteOCILayout(dir, "app:1"); err != nil {
		t.Fatal(err)
	}
	r, err := images.OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := s.Import(t.Context(), r, images.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := images.OpenArchive(t.TempDir()); !errors.Is(err, images.ErrBadArchive) {
		t.Errorf("a folder that is no layout: %v", err)
	}
}

// A bad archive is told as such and leaves nothing: no image, no blob, no layer.
func TestImportBadArchive(t *testing.T) {
	b := build(t, tricky(false))
	good := ociArchive(t, b, "app:1")
	layer := b.Blobs[1].Data
	damaged := bytes.Replace(good, layer, append([]byte{0xff}, layer[1:]...), 1)
	if bytes.Equal(good, damaged) {
		t.Fatal("the test damaged nothing")
	}
	var noManifest bytes.Buffer
	if err := (&imagetest.Built{Target: b.Target}).WriteOCIArchive(&noManifest, "app:1"); err != nil {
		t.Fatal(err)
	}
	wrongDiff := build(t, tricky(false))
	other := build(t, imagetest.Image{Layers: []imagetest.Layer{{{Path: "x"}}, {{Path: "y"}}}})
	wrongDiff.Config = other.Config
	for name, c := range map[string]struct {
		archive []byte
		kind    error
	}{
		"empty":            {nil, images.ErrBadArchive},
		"text":             {[]byte(strings.Repeat("no tar file at all\n", 200)), images.ErrBadArchive},
		"truncated":        {good[:len(good)/2], images.ErrBadArchive},
		"truncated gzip":   {gz(t, good)[:400], images.ErrBadArchive},
		"damaged layer":    {damaged, images.ErrBadArchive},
		"missing blobs":    {noManifest.Bytes(), images.ErrBadArchive},
		"other tar":        {gz(t, dockerArchive(t, build(t, imagetest.Image{}), "app")[512*4:]), images.ErrBadArchive},
		"bad name":         {dockerArchive(t, b, "UPPER:1"), images.ErrBadArchive},
		"layers differ":    {dockerArchive(t, wrongDiff, "app:1"), images.ErrCorrupt},
		"another platform": {ociArchive(t, index(t, build(t, imagetest.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "s390x"}})), "app:1"), images.ErrNoPlatform},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			_, err := s.Import(t.Context(), bytes.NewReader(c.archive), images.ImportOptions{})
			if !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			t.Log(err)
			checkEmpty(t, s)
		})
	}
}

func index(t *testing.T, all ...*imagetest.Built) *imagetest.Built {
	t.Helper()
	b, err := imagetest.Index(false, all...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkEmpty looks at the folders: nothing may be left in an empty store. What is
// removed in the background is waited for.
func checkEmpty(t *testing.T, s *images.Store) {
	t.Helper()
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
	var left []string
	eventually(t, func() bool {
		left = nil
		for _, pattern := range []string{"content/blobs/*/*", "content/ingest/*", "snapshots/snapshots/*", "containers/*", "containers/.*", "dirty"} {
			found, err := filepath.Glob(filepath.Join(s.Root(), pattern))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, found...)
		}
		return len(left) == 0
	}, func() string { return "left behind: " + strings.Join(left, "\n") })
}

func eventually(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Error(what())
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestRemove(t *testing.T) {
	s := open(t)
	b := build(t, tricky(false))
	imp := func() images.Image {
		imgs, err := s.Import(t.Context(), bytes.NewReader(ociArchive(t, b, "")), images.ImportOptions{Names: []string{"app:1", "app:2", "other:1"}})
		if err != nil {
			t.Fatal(err)
		}
		return imgs[0]
	}
	for _, ref := range []string{"app:1", b.ID(), "other@" + b.Target.Digest.String()} {
		imp()
		if err := s.Remove(t.Context(), ref); err != nil {
			t.Errorf("Remove(%s): %v", ref, err)
		}
		if err := s.Remove(t.Context(), ref); err != nil {
			t.Errorf("Remove(%s) again: %v", ref, err)
		}
		checkEmpty(t, s)
	}
	// One name at a time.
	img := imp()
	for _, c := range []struct {
		ref  string
		gone []string
		tags int
	}{
		{"app:1", []string{"docker.io/library/app:1"}, 2},
		{"app:2", []string{"docker.io/library/app:2", "docker.io/library/app@" + b.Target.Digest.String()}, 1},
		{"other:1", []string{"docker.io/library/other:1", "docker.io/library/other@" + b.Target.Digest.String(), img.ID}, 0},
	} {
		gone, err := s.Untag(t.Context(), c.ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.gone, gone); diff != "" {
			t.Errorf("Untag(%s) (-want +got):\n%s", c.ref, diff)
		}
		left, err := s.Get(t.Context(), img.ID)
		if len(left.Tags) != c.tags || (c.tags == 0) != errors.Is(err, images.ErrNotFound) {
			t.Errorf("after Untag(%s): %+v, %v", c.ref, left, err)
		}
	}
	checkEmpty(t, s)
}

// An image that is removed under a container goes with the container, also when
// the store was closed in between.
func TestRemoveInUse(t *testing.T) {
	root := t.TempDir()
	s := openAt(t, images.Config{Root: root})
	b := build(t, tricky(false))
	imgs, err := s.Import(t.Context(), bytes.NewReader(ociArchive(t, b, "app:1")), images.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := mounted(t, s, "c1", imgs[0].ID)
	if err := s.Remove(t.Context(), "app:1"); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
	if _, err := s.Prepare(t.Context(), "c2", imgs[0].ID, images.RootFSOptions{}); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("a new container on a removed image: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, images.Config{Root: root})
	checkTricky(t, dir)
	if _, err := s.Prepare(t.Context(), "c1", imgs[0].ID, images.RootFSOptions{}); err != nil {
		t.Errorf("the same container again: %v", err)
	}
	if keys, err := s.RootFSKeys(t.Context()); err != nil || len(keys) != 1 || keys[0] != "c1" {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := s.Release(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, s)
}

func TestRootFS(t *testing.T) {
	s := open(t)
	b := build(t, tricky(false))
	imgs, err := s.Import(t.Context(), bytes.NewReader(ociArchive(t, b, "app:1")), images.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := mounted(t, s, "one", imgs[0].ID), mounted(t, s, "two", imgs[0].ID)
	if err := os.WriteFile(filepath.Join(one, "etc/conf"), []byte(strings.Repeat("x", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(two, "etc/conf")); got != "upper" {
		t.Errorf("a container sees another's file: %q", got)
	}
	usage, err := s.RootFSUsage(t.Context(), "one")
	if err != nil || usage.Bytes < 10000 {
		t.Errorf("usage %+v, %v", usage, err)
	}
	view, err := s.View(t.Context(), "view", imgs[0].ID, images.RootFSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := mountAll(t, view)
	checkTricky(t, seen)
	if err := os.WriteFile(filepath.Join(seen, "x"), nil, 0o600); err == nil {
		t.Error("a view can be written to")
	}
	for _, key := range []string{"", "..", "a/b", ".new-x"} {
		if _, err := s.Prepare(t.Context(), key, imgs[0].ID, images.RootFSOptions{}); err == nil {
			t.Errorf("key %q was accepted", key)
		}
	}
	if err := s.Release(t.Context(), "absent"); err != nil {
		t.Errorf("Release of nothing: %v", err)
	}
}

// A pod in a user namespace sees the image's files as its own root's.
func TestRootFSMapped(t *testing.T) {
	s := open(t)
	imgs, err := s.Import(t.Context(), bytes.NewReader(ociArchive(t, build(t, tricky(false)), "app:1")), images.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	maps := []images.IDMapping{{ContainerID: 0, HostID: 100000, Length: 65536}}
	mounts, err := s.Prepare(t.Context(), "mapped", imgs[0].ID, images.RootFSOptions{UIDMappings: maps, GIDMappings: maps})
	if err != nil {
		t.Fatal(err)
	}
	dir := mountAll(t, mounts)
	for path, want := range map[string]uint32{"": 100000, "bin/app": 100000, "etc/conf": 100007} {
		if got := owner(t, filepath.Join(dir, path)); got != want {
			t.Errorf("%q belongs to %d, want %d", path, got, want)
		}
	}
}
