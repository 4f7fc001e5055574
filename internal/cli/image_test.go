package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

func TestPrintImages(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printImages(&out, []images.Image{
		{ID: "sha256:0123456789abcdef", Tags: []string{"docker.io/library/nginx:1", "localhost:5000/x:latest"}, Platform: "linux/amd64", Size: 12345678, Created: now.Add(-time.Hour)},
		{ID: "sha256:fedcba9876543210", Digests: []string{"localhost:5000/y@sha256:00"}, Platform: "linux/arm64", Size: 900, Created: now.Add(-3 * time.Minute)},
		{ID: "sha256:aaaaaaaaaaaaaaaa", Created: now},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
IMAGE                     TAG      ID             PLATFORM      AGE   SIZE
docker.io/library/nginx   1        0123456789ab   linux/amd64   60m   12.3MB
localhost:5000/x          latest   0123456789ab   linux/amd64   60m   12.3MB
localhost:5000/y          <none>   fedcba987654   linux/arm64   3m    0.9kB
<none>                    <none>   aaaaaaaaaaaa                 0s    0.0kB
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The commands do the same on a folder and through a server.
func TestImageCommands(t *testing.T) {
	built, err := imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{{{Path: "hello", Body: []byte("hi")}}}})
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := built.WriteOCIArchive(f, "hello:1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, served := range []bool{false, true} {
		l := layout.Layout{ID: "test", Data: t.TempDir(), Run: t.TempDir()}
		if served {
			serve(t, l)
		}
		run := func(args ...string) (string, error) {
			var out bytes.Buffer
			cmd := newImageCommand(func() (layout.Layout, error) { return l, nil })
			cmd.SetArgs(args)
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			cmd.SilenceUsage, cmd.SilenceErrors = true, true
			err := cmd.ExecuteContext(t.Context())
			return out.String(), err
		}
		if out, err := run("import", archive, "--name", "hello:2", "--name", "hello:3"); err != nil || !strings.Contains(out, "docker.io/library/hello:2") {
			t.Errorf("served=%v: import: %q, %v", served, out, err)
		}
		out, err := run("ls", "-o", "json")
		var list struct{ Images []images.Image }
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Images) != 1 || len(list.Images[0].Tags) != 2 {
			t.Errorf("served=%v: ls: %s, %v", served, out, err)
		}
		if out, err := run("rm", "hello:2"); err != nil || out != "removed docker.io/library/hello:2\n" {
			t.Errorf("served=%v: rm: %q, %v", served, out, err)
		}
		for _, c := range []struct{ args, want string }{
			{"rm absent", "no such image"},
			{"pull 127.0.0.1:1/x:1", "registry unavailable"},
			{"pull x --creds nobody", "want user:password"},
			{"import " + os.DevNull, "not a usable image archive"},
			{"import /nonexistent", "no such file"},
		} {
			if _, err := run(strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("served=%v: %s: %v, want %q", served, c.args, err, c.want)
			}
		}
	}
}

func serve(t *testing.T, l layout.Layout) {
	t.Helper()
	store, err := images.Open(t.Context(), images.Config{Root: l.Images()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- images.Serve(ctx, store, l.ImagesSocket()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		store.Close()
	})
	for {
		if _, ok := images.Dial(l.ImagesSocket()); ok {
			return
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
}
