package images_test

import (
	"fmt"
	"testing"

	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/internal/runtime/images/registrytest"
)

// BenchmarkOpen is on the path of every start.
func BenchmarkOpen(b *testing.B) {
	for _, fresh := range []bool{true, false} {
		b.Run(fmt.Sprintf("fresh=%v", fresh), func(b *testing.B) {
			root := b.TempDir()
			for i := range b.N {
				dir := root
				if fresh {
					dir = fmt.Sprintf("%s/%d", root, i)
				}
				s, err := images.Open(b.Context(), images.Config{Root: dir})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPrepare is on the path of every container's start.
func BenchmarkPrepare(b *testing.B) {
	reg, err := registrytest.Run(registrytest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer reg.Close()
	s, err := images.Open(b.Context(), images.Config{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	built, err := imagetest.Build(tricky(false))
	if err != nil {
		b.Fatal(err)
	}
	img, err := s.Pull(b.Context(), reg.Push(b, "bench:1", built), images.PullOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("resolve", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Get(b.Context(), img.Tags[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	n := 0
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			n++
			if _, err := s.Prepare(b.Context(), fmt.Sprintf("c%d", n), img.ID, images.RootFSOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prepare+release", func(b *testing.B) {
		for b.Loop() {
			n++
			key := fmt.Sprintf("c%d", n)
			if _, err := s.Prepare(b.Context(), key, img.ID, images.RootFSOptions{}); err != nil {
				b.Fatal(err)
			}
			if err := s.Release(b.Context(), key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPull is a pull of a small image from loopback, flushes and all, into a
// store that has nothing of it, and once more.
func BenchmarkPull(b *testing.B) {
	reg, err := registrytest.Run(registrytest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer reg.Close()
	built, err := imagetest.Busybox()
	if err != nil {
		b.Fatal(err)
	}
	ref := reg.Push(b, "library/busybox:1", built)
	root := b.TempDir()
	open := func(b *testing.B, name string, nosync bool) *images.Store {
		s, err := images.Open(b.Context(), images.Config{Root: root + "/" + name, NoSync: nosync})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	pull := func(b *testing.B, s *images.Store) {
		if _, err := s.Pull(b.Context(), ref, images.PullOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, nosync := range []bool{false, true} {
		b.Run(fmt.Sprintf("new/nosync=%v", nosync), func(b *testing.B) {
			for i := range b.N {
				s := open(b, fmt.Sprintf("%v-%d-%d", nosync, b.N, i), nosync)
				pull(b, s)
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
	b.Run("again", func(b *testing.B) {
		s := open(b, "again", false)
		defer s.Close()
		pull(b, s)
		for b.Loop() {
			pull(b, s)
		}
	})
}
