package logrotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime is what the rotator asks of the container runtime.
type Runtime interface {
	ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error)
	ContainerStatus(context.Context, *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error)
	ReopenContainerLog(context.Context, *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error)
}

// Config of a Rotator; zero values are upstream's.
type Config struct {
	Runtime Runtime
	// MaxSize is the size in bytes above which a log is moved away: 10 MiB.
	MaxSize int64
	// MaxFiles is how many files a container has at most, its log included: 5, at least 2.
	MaxFiles int
	// Every is how often logs are looked at: 10 s.
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Rotator rotates the logs of a node.
type Rotator struct {
	cfg Config
	// paths are log paths by container, asked once.
	paths map[string]string
}

// New makes a Rotator.
func New(cfg Config) (*Rotator, error) {
	if cfg.Runtime == nil {
		return nil, errors.New("log rotation: Runtime is needed")
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 10 << 20
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5
	}
	if cfg.MaxFiles < 2 {
		return nil, fmt.Errorf("log rotation: %d files are too few: the log itself and one moved away are needed", cfg.MaxFiles)
	}
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Rotator{cfg: cfg, paths: map[string]string{}}, nil
}

// Run looks at all logs until ctx ends.
func (r *Rotator) Run(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := r.RotateAll(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("logs not rotated", "err", err)
		}
	}
}

// RotateAll rotates the logs of all running containers that are too large.
func (r *Rotator) RotateAll(ctx context.Context) error {
	list, err := r.cfg.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}}})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	known, paths := r.paths, map[string]string{}
	r.paths = paths
	var errs []error
	for _, c := range list.GetContainers() {
		path, ok := known[c.GetId()]
		if !ok {
			status, err := r.cfg.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.GetId()})
			if err != nil {
				// It ended meanwhile, as containers do.
				continue
			}
			path = status.GetStatus().GetLogPath()
		}
		paths[c.GetId()] = path
		if err := r.rotate(ctx, c.GetId(), path); err != nil {
			errs = append(errs, fmt.Errorf("log %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Rotator) rotate(ctx context.Context, id, path string) error {
	info, err := os.Stat(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Size() < r.cfg.MaxSize {
		return err
	}
	if err := r.makeRoom(path); err != nil {
		return err
	}
	moved := path + "." + r.cfg.Now().UTC().Format(stampLayout)
	if err := os.Rename(path, moved); err != nil {
		return err
	}
	if _, err := r.cfg.Runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		// Nobody would find what the runtime goes on writing: move it back.
		return errors.Join(fmt.Errorf("reopen: %w", err), os.Rename(moved, path))
	}
	return nil
}

// makeRoom tidies the old files so that, with the log and the one to be moved away, there are no more than MaxFiles.
func (r *Rotator) makeRoom(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	p := planFor(filepath.Base(path), names, r.cfg.MaxFiles-2)
	var errs []error
	for _, name := range p.remove {
		errs = append(errs, os.Remove(filepath.Join(dir, name)))
	}
	for _, name := range p.compress {
		errs = append(errs, compress(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// compress makes name.gz of name; a crash leaves a .tmp, or both, which the next plan tidies.
func compress(name string) (err error) {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	temporary := name + ".tmp"
	out, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary))
		}
	}()
	z := gzip.NewWriter(out)
	_, copyErr := io.Copy(z, in)
	if err := errors.Join(copyErr, z.Close(), out.Close()); err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	if err := os.Rename(temporary, name+".gz"); err != nil {
		return err
	}
	return os.Remove(name)
}
