package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	cimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sync/semaphore"
)

const (
	namespace   = "proa"
	snapshotter = "overlayfs"

	// How many layers are downloaded at once, over all pulls.
	parallelDownloads = 4
)

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("the image store is in use by another process")

// Config of a Store.
type Config struct {
	// Root is the folder of the store, D/images.
	Root string
	// RegistriesConfigPath is the file that says how registries are reached (see
	// Registries). It need not exist; /etc/proa/registries.yaml is read when it
	// does not.
	RegistriesConfigPath string
	// Platform of the images to choose; "" = this host's, or like "linux/arm64".
	Platform string
	// KeepLayers keeps the compressed layers after they are unpacked.
	KeepLayers bool
	// NoSync leaves it to the kernel when unpacked layers reach the disk: quicker,
	// and a power failure may then leave damaged layers.
	NoSync bool
	// StallTimeout ends a download from which nothing arrives for this long;
	// 0 = a minute. It goes on from there at the next try.
	StallTimeout time.Duration
	Log          *slog.Logger // nil = discard
}

func (c *Config) complete() error {
	if c.Root == "" {
		return errors.New("images: no root folder")
	}
	if strings.ContainsAny(c.Root, ",:\\") {
		return fmt.Errorf("images: folder %s: overlayfs can't mount from a path with a comma, colon or backslash", c.Root)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Minute
	}
	if c.Platform == "" {
		c.Platform = platforms.Format(platforms.DefaultSpec())
	}
	if _, err := platforms.Parse(c.Platform); err != nil {
		return fmt.Errorf("images: platform %q: %w", c.Platform, err)
	}
	return nil
}

// Store is the images of a node. All methods are safe for concurrent use.
type Store struct {
	config Config

	backing   content.Store // blobs without metadata, for cleaning when a disk is full
	db        *metadata.DB
	content   content.Store
	layers    snapshots.Snapshotter
	names     cimages.Store
	leases    leases.Manager
	closers   []io.Closer
	downloads *semaphore.Weighted
	blobs     *keyedLock // one at a time downloads a blob or unpacks a layer
	flights   flights
	index     imageIndex
	loaded    loadedImages
	held      holds
	collector collector
	resume    resumeLeases

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Open opens the store at config.Root, or makes it. What an earlier process left
// half-done is collected in the background.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	s := &Store{config: config, downloads: semaphore.NewWeighted(parallelDownloads), blobs: newKeyedLock()}
	s.flights.tasks = &s.tasks
	s.ctx, s.cancel = context.WithCancel(s.context(context.WithoutCancel(ctx)))
	if err := s.open(); err != nil {
		s.cancel()
		s.closeFiles()
		return nil, fmt.Errorf("open image store %s: %w", config.Root, err)
	}
	if err := s.recover(s.ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("open image store %s: %w", config.Root, err)
	}
	return s, nil
}

func (s *Store) open() error {
	quietGlobal()
	for _, dir := range []string{s.config.Root, s.ContainersDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// Two processes on one store is a mistake to tell at once, not to wait for.
	db, err := bolt.Open(filepath.Join(s.config.Root, "meta.db"), 0o600, &bolt.Options{Timeout: 100 * time.Millisecond, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, db)
	if s.backing, err = local.NewStore(filepath.Join(s.config.Root, "content")); err != nil {
		return err
	}
	layers, err := overlay.NewSnapshotter(filepath.Join(s.config.Root, "snapshots"), overlay.WithUpperdirLabel)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, layers)
	s.db = metadata.NewDB(db, s.backing, map[string]snapshots.Snapshotter{snapshotter: layers})
	if err := s.db.Init(s.ctx); err != nil {
		return err
	}
	s.content = s.db.ContentStore()
	s.layers = s.db.Snapshotter(snapshotter)
	s.names = metadata.NewImageStore(s.db)
	s.leases = metadata.NewLeaseManager(s.db)
	return nil
}

// Close ends what is under way and closes the files.
func (s *Store) Close() error {
	s.cancel()
	s.tasks.Wait()
	return s.closeFiles()
}

func (s *Store) closeFiles() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	return errors.Join(errs...)
}

func (s *Store) registriesPaths() []string {
	paths := []string{"/etc/proa/registries.yaml"}
	if s.config.RegistriesConfigPath != "" {
		paths = append([]string{s.config.RegistriesConfigPath}, paths...)
	}
	return paths
}

// Root is the folder of the store.
func (s *Store) Root() string { return s.config.Root }

// quiet keeps containerd's packages from writing to standard error: what matters
// of it is in the errors they return.
var quiet = log.Entry{Logger: &logrus.Logger{Out: io.Discard, Formatter: &logrus.TextFormatter{}, Hooks: logrus.LevelHooks{}, Level: logrus.PanicLevel}}

// quietGlobal does the same for the few places that log without a context, like
// the one that finds no fs-verity, which most file systems lack.
var quietGlobal = sync.OnceFunc(func() { log.L.Logger.SetLevel(logrus.ErrorLevel) })

// context prepares ctx for containerd's packages.
func (s *Store) context(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, namespace), &quiet)
}

// background runs fn until it ends or the store is closed.
func (s *Store) background(fn func(ctx context.Context)) {
	s.tasks.Go(func() { fn(s.ctx) })
}

// matcher of the platform to take from an index.
func (s *Store) matcher(platform string) (platforms.MatchComparer, error) {
	if platform == "" {
		platform = s.config.Platform
	}
	p, err := platforms.Parse(platform)
	if err != nil {
		return nil, &Error{Op: "parse platform", Ref: platform, Kind: ErrNoPlatform, Err: err}
	}
	return platforms.Only(p), nil
}
