package images

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Stage of a pull or an import.
type Stage string

// The stages, in their order. Downloading and unpacking overlap: the stage is
// the one that the end is waited for.
const (
	Resolving   Stage = "resolving"
	Downloading Stage = "downloading"
	Reading     Stage = "reading" // of an archive
	Unpacking   Stage = "unpacking"
	Done        Stage = "done"
)

// Progress of a pull or an import.
type Progress struct {
	Stage      Stage `json:"stage"`
	Downloaded int64 `json:"downloaded"` // bytes
	Total      int64 `json:"total"`      // bytes; 0 while unknown
	Layers     int   `json:"layers"`
	Unpacked   int   `json:"unpacked"` // layers
}

// How often progress is told at most.
const progressInterval = 100 * time.Millisecond

// tracker counts for one pull.
type tracker struct {
	report func(Progress)

	mu   sync.Mutex
	now  Progress
	told time.Time
}

func newTracker(report func(Progress)) *tracker {
	if report == nil {
		report = func(Progress) {}
	}
	return &tracker{report: report}
}

// stage is always told.
func (t *tracker) stage(stage Stage) {
	t.change(true, func(p *Progress) { p.Stage = stage })
}

// expect adds a manifest's blobs to the total.
func (t *tracker) expect(blobs []ocispec.Descriptor, layers int) {
	t.change(true, func(p *Progress) {
		for _, b := range blobs {
			p.Total += b.Size
		}
		p.Layers += layers
	})
}

func (t *tracker) downloaded(n int64) {
	t.change(false, func(p *Progress) { p.Downloaded += n })
}

func (t *tracker) unpacked() {
	t.change(true, func(p *Progress) {
		p.Unpacked++
		p.Stage = Unpacking
	})
}

// done counts what was already present as done too.
func (t *tracker) done() {
	t.change(true, func(p *Progress) {
		p.Stage, p.Downloaded, p.Unpacked = Done, p.Total, p.Layers
	})
}

func (t *tracker) change(tell bool, fn func(*Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(&t.now)
	if tell || time.Since(t.told) >= progressInterval {
		t.told = time.Now()
		t.report(t.now)
	}
}

// countingFetcher tells the tracker what arrives.
type countingFetcher struct {
	remotes.Fetcher
	tracker *tracker
}

func (f countingFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := f.Fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return &countingReader{ReadCloser: rc, tracker: f.tracker}, nil
}

type countingReader struct {
	io.ReadCloser
	tracker *tracker
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.tracker.downloaded(int64(n))
	return n, err
}

// Seek lets an interrupted download go on where it stopped.
func (r *countingReader) Seek(offset int64, whence int) (int64, error) {
	if s, ok := r.ReadCloser.(io.Seeker); ok {
		return s.Seek(offset, whence)
	}
	return 0, io.ErrNoProgress
}
