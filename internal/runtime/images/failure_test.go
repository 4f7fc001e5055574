package images_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// fakeRegistry serves one image and misbehaves as told.
type fakeRegistry struct {
	*httptest.Server
	image *imagetest.Built

	mu sync.Mutex
	// blob is asked before a layer is served; true = it has answered.
	blob func(w http.ResponseWriter, r *http.Request, data []byte) bool
	// manifest likewise.
	manifest func(w http.ResponseWriter, r *http.Request) bool
	gets     map[string]int // of each blob
	ranges   []string
}

func newFakeRegistry(t *testing.T, img *imagetest.Built) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{image: img, gets: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeRegistry) ref() string { return strings.TrimPrefix(f.URL, "http://") + "/app:1" }

func (f *fakeRegistry) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	manifest, blob := f.manifest, f.blob
	f.mu.Unlock()
	switch {
	case strings.Contains(r.URL.Path, "/manifests/"):
		if manifest != nil && manifest(w, r) {
			return
		}
		w.Header().Set("Content-Type", f.image.Target.MediaType)
		w.Header().Set("Docker-Content-Digest", f.image.Target.Digest.String())
		w.Header().Set("Content-Length", strconv.Itoa(len(f.image.Target.Data)))
		if r.Method != http.MethodHead {
			w.Write(f.image.Target.Data)
		}
	case strings.Contains(r.URL.Path, "/blobs/"):
		f.serveBlob(w, r, blob)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeRegistry) serveBlob(w http.ResponseWriter, r *http.Request, blob func(http.ResponseWriter, *http.Request, []byte) bool) {
	want := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	for _, b := range f.image.Blobs {
		if b.Digest.String() != want {
			continue
		}
		f.set(func() {
			f.gets[want]++
			if rng := r.Header.Get("Range"); rng != "" {
				f.ranges = append(f.ranges, rng)
			}
		})
		if strings.Contains(b.MediaType, "layer") && blob != nil && blob(w, r, b.Data) {
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Data))
		return
	}
	http.NotFound(w, r)
}

// big is an image with one layer of some megabytes that don't compress.
func big(t *testing.T, size int) *imagetest.Built {
	t.Helper()
	body := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{}).Read(body); err != nil {
		t.Fatal(err)
	}
	return build(t, imagetest.Image{Layers: []imagetest.Layer{{{Path: "small", Body: []byte("x")}}, {{Path: "big", Body: body}}}})
}

// Every failure is told by its kind, leaves nothing behind, and the same pull
// succeeds once the registry behaves.
func TestPullFailures(t *testing.T) {
	refuse := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	for name, c := range map[string]struct {
		manifest func(http.ResponseWriter, *http.Request) bool
		blob     func(http.ResponseWriter, *http.Request, []byte) bool
		kind     error
		keeps    bool // what was downloaded, for the next try
	}{
		"manifest 401":          {manifest: refuse(401), kind: images.ErrUnauthorized},
		"manifest 403":          {manifest: refuse(403), kind: images.ErrUnauthorized},
		"manifest 404":          {manifest: refuse(404), kind: images.ErrNotFound},
		"manifest 500":          {manifest: refuse(500), kind: images.ErrUnreachable, keeps: true},
		"manifest 429":          {manifest: refuse(429), kind: images.ErrUnreachable, keeps: true},
		"manifest wrong digest": {manifest: wrongManifest, kind: images.ErrCorrupt},
		"blob 404": {blob: func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		}, kind: images.ErrNotFound},
		"blob 500": {blob: func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}, kind: images.ErrUnreachable, keeps: true},
		"blob other bytes": {blob: otherBytes, kind: images.ErrCorrupt},
		"blob cut":         {blob: cut, kind: images.ErrInterrupted, keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			reg := newFakeRegistry(t, big(t, 1<<20))
			reg.set(func() { reg.manifest, reg.blob = c.manifest, c.blob })
			_, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
			if !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			t.Log(err)
			if !c.keeps {
				checkEmpty(t, s)
			}
			if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("List: %v, %v", all, err)
			}
			reg.set(func() { reg.manifest, reg.blob = nil, nil })
			if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); err != nil {
				t.Errorf("second pull: %v", err)
			}
		})
	}
}

func wrongManifest(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	w.Header().Set("Docker-Content-Digest", digest.FromString("something else").String())
	w.Header().Set("Content-Length", "2")
	if r.Method != http.MethodHead {
		w.Write([]byte("{}"))
	}
	return true
}

func otherBytes(w http.ResponseWriter, _ *http.Request, data []byte) bool {
	w.Write(bytes.Repeat([]byte{7}, len(data)))
	return true
}

// cut serves the first half and breaks the connection; it does so at every try.
func cut(w http.ResponseWriter, r *http.Request, data []byte) bool {
	if r.Header.Get("Range") != "" {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data[:len(data)/2])
	panic(http.ErrAbortHandler)
}

// An interrupted download goes on where it stopped.
func TestPullResumes(t *testing.T) {
	s := open(t)
	reg := newFakeRegistry(t, big(t, 4<<20))
	reg.set(func() { reg.blob = cut })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); !errors.Is(err, images.ErrInterrupted) {
		t.Fatal(err)
	}
	reg.set(func() { reg.blob, reg.ranges = nil, nil })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(reg.ranges) == 0 {
		t.Error("the second pull began from the start")
	}
}

// A download that stalls is given up, and goes on at the next try.
func TestPullStalls(t *testing.T) {
	s := openAt(t, images.Config{Root: t.TempDir(), StallTimeout: 50 * time.Millisecond})
	reg := newFakeRegistry(t, big(t, 1<<20))
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	reg.set(func() {
		reg.blob = func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.Write(data[:len(data)/2])
			w.(http.Flusher).Flush()
			<-hold
			return true
		}
	})
	_, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
	if !errors.Is(err, images.ErrInterrupted) || !strings.Contains(err.Error(), "nothing arrived for 50ms") {
		t.Error(err)
	}
	reg.set(func() { reg.blob = nil })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); err != nil {
		t.Error(err)
	}
}

// A pull of what is here asks the registry for the name, and for no content.
func TestPullAgain(t *testing.T) {
	s := open(t)
	reg := newFakeRegistry(t, big(t, 1<<20))
	first, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reg.set(func() { clear(reg.gets) })
	again, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
	if err != nil || again.ID != first.ID || len(reg.gets) != 0 {
		t.Errorf("%v, %v, downloads %v", again, err, reg.gets)
	}
	// Another tag of the same only adds a name.
	other := strings.TrimSuffix(reg.ref(), ":1") + ":2"
	again, err = s.Pull(t.Context(), other, images.PullOptions{})
	if err != nil || len(again.Tags) != 2 || len(reg.gets) != 0 {
		t.Errorf("%v, %v, downloads %v", again, err, reg.gets)
	}
}

// Nobody waits for the pull any more, so it ends, and lets go of what it held.
func TestPullCancelled(t *testing.T) {
	s := open(t)
	reg := newFakeRegistry(t, big(t, 1<<20))
	asked, hold := make(chan struct{}, 8), make(chan struct{})
	t.Cleanup(func() { close(hold) })
	reg.set(func() {
		reg.blob = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			asked <- struct{}{}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			return true
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Pull(ctx, reg.ref(), images.PullOptions{})
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	reg.set(func() { reg.blob = nil })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); err != nil {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	s := open(t)
	for _, ref := range []string{"127.0.0.1:1/x:1", "no-such-host.invalid/x:1"} {
		_, err := s.Pull(t.Context(), ref, images.PullOptions{})
		if !errors.Is(err, images.ErrUnreachable) {
			t.Errorf("%s: %v", ref, err)
		}
		t.Log(err)
	}
}

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if root := os.Getenv("PROA_TEST_PULL_ROOT"); root != "" {
		pullForever(root, os.Getenv("PROA_TEST_PULL_REF"))
		return
	}
	os.Exit(m.Run())
}

func pullForever(root, ref string) {
	s, err := images.Open(context.Background(), images.Config{Root: root, NoSync: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if _, err := s.Pull(context.Background(), ref, images.PullOptions{}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("pulled")
}

// A kill in the middle of a pull leaves nothing visible, and all of it is
// collected after the next start.
func TestKilledPull(t *testing.T) {
	root := t.TempDir()
	img := big(t, 4<<20)
	reg := newFakeRegistry(t, img)
	half := make(chan struct{})
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	reg.set(func() {
		reg.blob = func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			if len(data) < 1<<20 {
				return false
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.Write(data[:len(data)/2])
			w.(http.Flusher).Flush()
			close(half)
			<-hold
			return true
		}
	})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PROA_TEST_PULL_ROOT="+root, "PROA_TEST_PULL_REF="+reg.ref())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	<-half
	// The first layer is unpacked, the second half there: the moment to be killed.
	eventually(t, func() bool {
		found, _ := filepath.Glob(filepath.Join(root, "snapshots/snapshots/*/fs/small"))
		ingests, _ := filepath.Glob(filepath.Join(root, "content/ingest/*/data"))
		return len(found) == 1 && len(ingests) == 1
	}, func() string { return "the pull did not come this far: " + out.String() })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()

	s := openAt(t, images.Config{Root: root})
	checkEmpty(t, s)
	reg.set(func() { reg.blob = nil })
	got, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
	if err != nil || got.ID != img.ID() {
		t.Errorf("pull after the kill: %+v, %v", got, err)
	}
}

// A disk that is too small ends a pull with its reason, and is as empty after it
// as before; a smaller image still fits.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal("this test needs root: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := openAt(t, images.Config{Root: filepath.Join(dir, "images")})
	// The registry's blob fits but not the unpacked layer; then not even the blob.
	for _, size := range []int{8 << 20, 32 << 20} {
		reg := newFakeRegistry(t, big(t, size))
		_, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{})
		if !errors.Is(err, images.ErrDiskFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d bytes: %v", size, err)
		}
		t.Log(err)
		checkEmpty(t, s)
		var archive bytes.Buffer
		if err := reg.image.WriteDockerArchive(&archive, "big:1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Import(t.Context(), &archive, images.ImportOptions{}); !errors.Is(err, images.ErrDiskFull) {
			t.Errorf("import of %d bytes: %v", size, err)
		}
		checkEmpty(t, s)
	}
	small := newFakeRegistry(t, big(t, 1<<20))
	if _, err := s.Pull(t.Context(), small.ref(), images.PullOptions{}); err != nil {
		t.Errorf("a small image afterwards: %v", err)
	}
}

// Close waits for all that the store started.
func TestCloseEndsAll(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s, err := images.Open(t.Context(), images.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	reg := newFakeRegistry(t, big(t, 1<<20))
	reg.set(func() { reg.blob = cut })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); !errors.Is(err, images.ErrInterrupted) {
		t.Error(err)
	}
	reg.set(func() { reg.blob = nil })
	if _, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	reg.Close()
	// containerd's collector leaves this one when it is cut off in the middle.
	library := goleak.IgnoreAnyFunction("github.com/containerd/containerd/v2/core/metadata.(*DB).getMarked.func1.1")
	goleak.VerifyNone(t, before, library)
}

func TestOneProcessAtATime(t *testing.T) {
	root := t.TempDir()
	openAt(t, images.Config{Root: root})
	if _, err := images.Open(t.Context(), images.Config{Root: root}); !errors.Is(err, images.ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
}
