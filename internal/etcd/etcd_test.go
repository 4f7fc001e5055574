package etcd

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestKeepsWhatItAcknowledged(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := start(t, dir)
	if _, err := s.Client().Put(ctx, "/a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = start(t, dir)
	got, err := s.Client().Get(ctx, "/a")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
		t.Fatalf("after a restart /a = %v, want 1", got.Kvs)
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	_, err := Start(t.Context(), Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("second start: %v, want a refusal", err)
	}
}

func TestSnapshot(t *testing.T) {
	s := start(t, t.TempDir())
	var b bytes.Buffer
	if err := s.Snapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Len()%512 != 32 { // whole pages and a SHA-256
		t.Fatalf("snapshot of %d bytes has no checksum at its end", b.Len())
	}
}

// With a clock that stands still no election timeout ever ends.
func TestALoneMemberWaitsForNoElectionTimeout(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{"fresh", "again"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		s, err := Start(ctx, Config{Dir: dir, tick: time.Hour})
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A member that starts goes over what it has, and is elected after that and not in
// the midst, also where there is little time to do it in.
func TestElectedOnceItHasCaughtUp(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	for i := range snapshotCount - 100 {
		if _, err := s.Client().Put(t.Context(), fmt.Sprint("/", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	var busy sync.WaitGroup
	defer busy.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 4 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, dir)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing": {},
		"both":    {Dir: "/x", Endpoints: []string{"http://127.0.0.1:1"}},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s, err := Start(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func start(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Start(context.Background(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
