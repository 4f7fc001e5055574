package imagegc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// every is how often the disk is looked at: upstream's interval.
const every = 5 * time.Minute

// Images is what the collector asks of the image service.
type Images interface {
	ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error)
	RemoveImage(context.Context, *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error)
}

// Runtime tells which images are used.
type Runtime interface {
	ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error)
}

// Config of a Collector.
type Config struct {
	Images  Images
	Runtime Runtime
	// Dir is on the file system of the images.
	Dir    string
	Policy Policy
	// Report is told of a collection that did not free enough ("FreeDiskSpaceFailed"); nil is told nothing.
	Report func(reason, message string)
	// Disk reads how full the disk is; nil asks the file system of Dir.
	Disk func() (Disk, error)
	Now  func() time.Time
	Log  *slog.Logger
}

// Collector removes unused images.
type Collector struct {
	cfg Config

	mu   sync.Mutex
	uses map[string]use
}

type use struct{ detected, last time.Time }

// New makes a Collector.
func New(cfg Config) (*Collector, error) {
	if cfg.Images == nil || cfg.Runtime == nil || (cfg.Dir == "" && cfg.Disk == nil) {
		return nil, errors.New("image collection: Images, Runtime and Dir are needed")
	}
	if cfg.Policy == (Policy{}) {
		cfg.Policy = DefaultPolicy()
	}
	if p := cfg.Policy; p.LowPercent > p.HighPercent || p.LowPercent < 0 || p.HighPercent > 100 {
		return nil, fmt.Errorf("image collection: thresholds %d and %d percent don't fit", p.LowPercent, p.HighPercent)
	}
	if cfg.Disk == nil {
		cfg.Disk = func() (Disk, error) { return statfs(cfg.Dir) }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Collector{cfg: cfg, uses: map[string]use{}}, nil
}

func statfs(dir string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Disk{}, fmt.Errorf("size of the file system of %s: %w", dir, err)
	}
	return Disk{Capacity: int64(s.Blocks) * s.Frsize, Available: int64(s.Bavail) * s.Frsize}, nil
}

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := c.Collect(ctx, 0); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("images not collected", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Collect removes what the policy says, or more where need bytes are to be freed, and returns how many bytes it freed, as the
// images count them.
func (c *Collector) Collect(ctx context.Context, need int64) (int64, error) {
	freed, missing, err := c.collect(ctx, need)
	if missing == 0 {
		return freed, err
	}
	message := fmt.Sprintf("Failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free.", freed+missing, freed)
	if c.cfg.Report != nil {
		c.cfg.Report("FreeDiskSpaceFailed", message)
	}
	return freed, errors.Join(err, errors.New(message))
}

// RemoveUnused removes all that may be removed: the node is short of disk.
func (c *Collector) RemoveUnused(ctx context.Context) (int64, error) {
	freed, _, err := c.collect(ctx, math.MaxInt64)
	return freed, err
}

func (c *Collector) collect(ctx context.Context, need int64) (freed, missing int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	images, err := c.look(ctx, now)
	if err != nil {
		return 0, 0, err
	}
	disk, err := c.cfg.Disk()
	if err != nil {
		return 0, 0, err
	}
	plan := Decide(images, disk, c.cfg.Policy, need, now)
	var errs []error
	for _, image := range plan.Remove {
		if _, err := c.cfg.Images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image.ID}}); err != nil {
			errs = append(errs, fmt.Errorf("remove image %s: %w", image.ID, err))
			continue
		}
		c.cfg.Log.Info("unused image removed", "image", image.ID, "bytes", image.Bytes)
		delete(c.uses, image.ID)
		freed += image.Bytes
	}
	return freed, max(plan.Need-freed, 0), errors.Join(errs...)
}

// look lists the images and brings what is known of their use up to date.
func (c *Collector) look(ctx context.Context, now time.Time) ([]Image, error) {
	list, err := c.cfg.Images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	containers, err := c.cfg.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	used := map[string]bool{}
	for _, container := range containers.GetContainers() {
		used[container.GetImageId()], used[container.GetImageRef()], used[container.GetImage().GetImage()] = true, true, true
	}
	// An empty name is nobody's image.
	delete(used, "")
	uses := map[string]use{}
	var out []Image
	for _, image := range list.GetImages() {
		known, ok := c.uses[image.GetId()]
		if !ok {
			known.detected = now
		}
		inUse := usedByAnyName(used, image)
		if inUse {
			known.last = now
		}
		uses[image.GetId()] = known
		out = append(out, Image{ID: image.GetId(), Bytes: int64(image.GetSize()), Pinned: image.GetPinned(), InUse: inUse, Detected: known.detected, LastUsed: known.last})
	}
	c.uses = uses
	return out, nil
}

func usedByAnyName(used map[string]bool, image *runtimeapi.Image) bool {
	if used[image.GetId()] {
		return true
	}
	for _, names := range [][]string{image.GetRepoDigests(), image.GetRepoTags()} {
		for _, name := range names {
			if used[name] {
				return true
			}
		}
	}
	return false
}
