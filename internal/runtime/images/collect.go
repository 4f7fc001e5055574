package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	// An interrupted download is kept this long for the next try; the node agent's
	// back-off ends at five minutes.
	resumeFor = 10 * time.Minute

	ballastSize = 1 << 20

	// dirtyFile is there while there may be something to collect.
	dirtyFile = "dirty"
)

// collector runs the garbage collection: one at a time, and once more when it
// was asked for meanwhile.
type collector struct {
	mu      sync.Mutex
	running bool
	again   bool
}

// collect asks for a collection in the background.
func (s *Store) collect() {
	c := &s.collector
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		c.again = true
		return
	}
	c.running = true
	s.background(s.collectLoop)
}

func (s *Store) collectLoop(ctx context.Context) {
	c := &s.collector
	for {
		if err := s.collectNow(ctx); err != nil && ctx.Err() == nil {
			s.config.Log.Error("image garbage collection failed", "error", err)
		}
		c.mu.Lock()
		if !c.again || ctx.Err() != nil {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.again = false
		c.mu.Unlock()
	}
}

func (s *Store) collectNow(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, err := s.db.GarbageCollect(ctx); err != nil {
		return err
	}
	s.clean()
	return nil
}

// soil notes that a kill from now on may leave something to collect.
func (s *Store) soil() error {
	f, err := os.OpenFile(s.dirtyPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// clean takes the note back, unless a lease is held.
func (s *Store) clean() {
	if held, err := s.leases.List(s.ctx); err == nil && len(held) == 0 {
		os.Remove(s.dirtyPath())
	}
}

func (s *Store) dirtyPath() string { return filepath.Join(s.config.Root, dirtyFile) }

// recover readies the store after an earlier process: what it had under way is
// dropped, in the background as far as it takes time.
func (s *Store) recover(ctx context.Context) error {
	if err := s.fillBallast(); err != nil {
		s.config.Log.Warn("no reserve for a full disk", "error", err)
	}
	stale, err := s.leases.List(ctx)
	if err != nil {
		return err
	}
	_, err = os.Stat(s.dirtyPath())
	if len(stale) == 0 && errors.Is(err, fs.ErrNotExist) {
		return s.recoverContainers(ctx)
	}
	s.background(func(ctx context.Context) {
		for _, l := range stale {
			if err := s.leases.Delete(ctx, l); err != nil {
				s.config.Log.Error("drop what an earlier pull left", "lease", l.ID, "error", err)
			}
		}
		if err := s.markDirty(ctx); err != nil {
			s.config.Log.Error("collect what an earlier process left", "error", err)
		}
		s.collect()
	})
	return s.recoverContainers(ctx)
}

// markDirty makes the next collection look at the folders of layers and blobs
// too, not only at their metadata: a kill between the two leaves folders that no
// metadata names. The metadata has no call for it but a removal.
func (s *Store) markDirty(ctx context.Context) error {
	key := fmt.Sprintf("recover-%d", time.Now().UnixNano())
	if _, err := s.layers.Prepare(ctx, key, ""); err != nil {
		return err
	}
	return s.layers.Remove(ctx, key)
}

// newLease starts something that leaves nothing behind unless it is recorded.
func (s *Store) newLease(ctx context.Context, what string) (string, error) {
	if err := s.soil(); err != nil {
		return "", err
	}
	id := fmt.Sprintf("%s-%d", what, time.Now().UnixNano())
	l, err := s.leases.Create(ctx, leases.WithID(id))
	if err != nil {
		return "", err
	}
	return l.ID, nil
}

// endLease ends what a lease protected. After a failure it returns only when
// nothing is left of it, with abort dropping unfinished blobs; after a success
// what is no longer needed goes in the background.
func (s *Store) endLease(lease string, abort func(context.Context), failure error) {
	ctx := context.WithoutCancel(s.ctx)
	if failure != nil {
		if errors.Is(failure, ErrDiskFull) {
			os.Remove(s.ballastPath())
			defer func() { _ = s.fillBallast() }() // there is still the next time
		}
		abort(ctx)
	}
	if err := s.leases.Delete(ctx, leases.Lease{ID: lease}); err != nil {
		s.config.Log.Error("end a lease on image content", "lease", lease, "error", err)
	}
	if failure == nil {
		s.collect()
		return
	}
	if err := s.markDirty(ctx); err != nil {
		s.config.Log.Warn("image garbage collection may leave folders until the next start", "error", err)
	}
	if err := s.collectNow(ctx); err != nil {
		s.config.Log.Error("image garbage collection failed", "error", err)
	}
}

// abortIngests drops half-written blobs whose reference matches: with wrong
// content they would be found complete, and wrong, again at every later try.
func (s *Store) abortIngests(ctx context.Context, match func(ref string) bool) {
	statuses, err := s.backing.ListStatuses(ctx)
	if err != nil {
		s.config.Log.Error("list unfinished downloads", "error", err)
		return
	}
	for _, st := range statuses {
		if match(st.Ref) {
			_ = s.backing.Abort(ctx, st.Ref) // it may be committed by now
		}
	}
}

// abortBlobs does it for downloads of these blobs, but for those that another
// pull has taken up.
func (s *Store) abortBlobs(ctx context.Context, blobs []digest.Digest) {
	for _, dgst := range blobs {
		key := "blob://" + dgst.String() // as the unpacker locks it
		if err := s.blobs.Lock(ctx, key); err != nil {
			return
		}
		s.abortIngests(ctx, func(ref string) bool { return strings.HasSuffix(ref, dgst.String()) })
		s.blobs.Unlock(key)
	}
}

// The ballast is given up when the disk is full: removing things needs some
// space as well, for the metadata is copy on write.
func (s *Store) ballastPath() string { return filepath.Join(s.config.Root, "ballast") }

func (s *Store) fillBallast() error {
	f, err := os.OpenFile(s.ballastPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, ballastSize)
}

// resumeLeases are those of interrupted pulls, by what was pulled.
type resumeLeases struct {
	mu   sync.Mutex
	kept map[string]string
}

// take gives the lease of an interrupted pull of the same, or a new one.
func (r *resumeLeases) take(ctx context.Context, s *Store, key string) (string, error) {
	r.mu.Lock()
	lease, ok := r.kept[key]
	delete(r.kept, key)
	r.mu.Unlock()
	if ok {
		return lease, nil
	}
	return s.newLease(ctx, "pull")
}

// keep holds on to what was downloaded for a while.
func (r *resumeLeases) keep(s *Store, key, lease string) {
	r.mu.Lock()
	if r.kept == nil {
		r.kept = map[string]string{}
	}
	r.kept[key] = lease
	r.mu.Unlock()
	s.background(func(ctx context.Context) {
		select {
		case <-time.After(resumeFor):
		case <-ctx.Done():
			return // the next Open drops it
		}
		r.mu.Lock()
		mine := r.kept[key] == lease
		if mine {
			delete(r.kept, key)
		}
		r.mu.Unlock()
		if mine {
			s.endLease(lease, func(context.Context) {}, ErrInterrupted)
		}
	})
}
