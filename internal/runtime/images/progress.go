package images

import (
	"context"
	"fmt"
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

// countingFetcher tells the tracker what arrives, and ends a download from which
// nothing arrives any more.
type countingFetcher struct {
	remotes.Fetcher
	tracker *tracker
	stall   time.Duration
}

func (f countingFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	rc, err := f.Fetcher.Fetch(ctx, desc)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	stalled := fmt.Errorf("%w: nothing arrived for %s", ErrInterrupted, f.stall)
	timer := time.AfterFunc(f.stall, func() { cancel(stalled) })
	timer.Stop()
	return &countingReader{ReadCloser: rc, tracker: f.tracker, ctx: ctx, cancel: cancel, timer: timer, stall: f.stall}, nil
}

type countingReader struct {
	io.ReadCloser
	tracker *tracker
	ctx     context.Context // of the download
	cancel  context.CancelCauseFunc
	timer   *time.Timer // runs during Read only: a slow disk is no stalled network
	stall   time.Duration
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.stall)
	n, err := r.ReadCloser.Read(p)
	r.timer.Stop()
	if err != nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	r.tracker.downloaded(int64(n))
	return n, err
}

func (r *countingReader) Close() error {
	r.timer.Stop()
	err := r.ReadCloser.Close()
	r.cancel(nil)
	return err
}

// Seek lets an interrupted download go on where it stopped.
func (r *countingReader) Seek(offset int64, whence int) (int64, error) {
	if s, ok := r.ReadCloser.(io.Seeker); ok {
		return s.Seek(offset, whence)
	}
	return 0, io.ErrNoProgress
}
