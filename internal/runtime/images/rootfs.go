package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/containerd/v2/core/mount"
	cfs "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A container's folder below containers/:
//
//	image  the ID of its image
//	fs     what the container writes (absent in a read-only view)
//	work   overlayfs's own
//
// It is made under a name that begins with a dot and renamed when complete.
const (
	imageFile = "image"
	making    = ".new-"
	removing  = ".old-"
)

var validKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$`)

// IDMapping shifts a range of user or group IDs.
type IDMapping struct {
	ContainerID, HostID, Length uint32
}

// RootFSOptions vary a root file system.
type RootFSOptions struct {
	UIDMappings, GIDMappings []IDMapping
}

// Usage of the disk.
type Usage struct {
	Bytes, Inodes int64
}

// holds counts the containers on each image. Its lock is also what makes
// "is it used?" and "then remove it" one step.
type holds struct {
	mu     sync.Mutex
	images map[string]string // container's key → image ID
	counts map[string]int
}

func (h *holds) users(imageID string) int { return h.counts[imageID] }

func (h *holds) add(key, imageID string) {
	if h.images == nil {
		h.images, h.counts = map[string]string{}, map[string]int{}
	}
	if _, ok := h.images[key]; ok {
		return
	}
	h.images[key] = imageID
	h.counts[imageID]++
}

// drop tells the image of the container, and whether that was its last.
func (h *holds) drop(key string) (imageID string, last bool) {
	imageID, ok := h.images[key]
	if !ok {
		return "", false
	}
	delete(h.images, key)
	h.counts[imageID]--
	if h.counts[imageID] > 0 {
		return imageID, false
	}
	delete(h.counts, imageID)
	return imageID, true
}

// ContainersDir is where the writable layers of containers are.
func (s *Store) ContainersDir() string { return filepath.Join(s.config.Root, "containers") }

func (s *Store) containerDir(key string) string { return filepath.Join(s.ContainersDir(), key) }

// Prepare gives the container key a writable root file system on top of an image,
// and says how to mount it. A second call returns the same again.
func (s *Store) Prepare(ctx context.Context, key, imageID string, opts RootFSOptions) ([]mount.Mount, error) {
	img, err := s.hold(ctx, key, imageID)
	if err != nil {
		return nil, fmt.Errorf("prepare root file system %s: %w", key, err)
	}
	if err := s.makeContainer(key, imageID, img, opts); err != nil {
		s.release(ctx, key)
		return nil, fmt.Errorf("prepare root file system %s: %w", key, err)
	}
	return s.mounts(key, img, opts), nil
}

// View is a read-only Prepare.
func (s *Store) View(ctx context.Context, key, imageID string, opts RootFSOptions) ([]mount.Mount, error) {
	img, err := s.hold(ctx, key, imageID)
	if err != nil {
		return nil, fmt.Errorf("prepare view %s: %w", key, err)
	}
	if err := s.makeFolder(key, imageID, nil); err != nil {
		s.release(ctx, key)
		return nil, fmt.Errorf("prepare view %s: %w", key, err)
	}
	options := append([]string{"ro"}, mappingOptions(opts)...)
	switch len(img.dirs) {
	case 0:
		// An empty image shows the empty part of its own folder.
		empty := filepath.Join(s.containerDir(key), "fs")
		if err := os.MkdirAll(empty, 0o755); err != nil {
			return nil, err
		}
		return []mount.Mount{{Type: "bind", Source: empty, Options: append(options, "rbind")}}, nil
	case 1:
		return []mount.Mount{{Type: "bind", Source: img.dirs[0], Options: append(options, "rbind")}}, nil
	}
	options = append(append(options, "lowerdir="+strings.Join(img.dirs, ":")), overlayOptions()...)
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}, nil
}

// hold notes that key uses the image, so that it is not removed under it.
func (s *Store) hold(ctx context.Context, key, imageID string) (*loadedImage, error) {
	if !validKey.MatchString(key) {
		return nil, fmt.Errorf("key %q: %w", key, errdefs.ErrInvalidArgument)
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	_, mine := s.held.images[key]
	img, err := s.load(s.context(ctx), imageID, mine)
	if err != nil {
		return nil, err
	}
	s.held.add(key, imageID)
	return img, nil
}

// release is the end of hold; the last container of a removed image takes it along.
func (s *Store) release(ctx context.Context, key string) {
	ctx = s.context(context.WithoutCancel(ctx))
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	if imageID, last := s.held.drop(key); last {
		s.dropHeld(ctx, imageID)
	}
}

// dropHeld forgets an image that was only kept for its containers.
func (s *Store) dropHeld(ctx context.Context, imageID string) {
	if _, err := s.names.Get(ctx, heldPrefix+imageID); err != nil {
		return
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		return s.names.Delete(boltutil.WithTransaction(ctx, tx), heldPrefix+imageID)
	})
	if err != nil && !errdefs.IsNotFound(err) {
		s.config.Log.Error("forget a removed image", "image", imageID, "error", err)
		return
	}
	s.collect()
}

// makeContainer makes the writable folders, owned as the image's root is.
func (s *Store) makeContainer(key, imageID string, img *loadedImage, opts RootFSOptions) error {
	return s.makeFolder(key, imageID, func(dir string) error {
		mode, uid, gid := fs.FileMode(0o755), 0, 0
		if len(img.dirs) > 0 {
			fi, err := os.Stat(img.dirs[0])
			if err != nil {
				return err
			}
			st := fi.Sys().(*syscall.Stat_t)
			mode, uid, gid = fi.Mode(), int(st.Uid), int(st.Gid)
		}
		uid, gid = hostID(uid, opts.UIDMappings), hostID(gid, opts.GIDMappings)
		upper := filepath.Join(dir, "fs")
		if err := os.Mkdir(upper, 0o755); err != nil {
			return err
		}
		if mode != fs.ModeDir|0o755 {
			if err := os.Chmod(upper, mode); err != nil {
				return err
			}
		}
		if uid != 0 || gid != 0 {
			if err := os.Lchown(upper, uid, gid); err != nil {
				return err
			}
		}
		return os.Mkdir(filepath.Join(dir, "work"), 0o711)
	})
}

// makeFolder makes a container's folder with its image file, all or nothing.
func (s *Store) makeFolder(key, imageID string, fill func(dir string) error) (err error) {
	dir := s.containerDir(key)
	if _, err := os.Stat(dir); err == nil {
		// A volatile mount may be made once; the mark that says so is no concern for a
		// folder that only saw a clean unmount.
		return os.RemoveAll(filepath.Join(dir, "work", "work", "incompat"))
	}
	tmp := s.containerDir(making + key)
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if err := os.Mkdir(tmp, 0o711); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, imageFile), []byte(imageID), 0o600); err != nil {
		return err
	}
	if fill != nil {
		if err := fill(tmp); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

// hostID is the ID on the host of one in the container; unmapped ones stay.
func hostID(id int, mappings []IDMapping) int {
	for _, m := range mappings {
		if off := int64(id) - int64(m.ContainerID); off >= 0 && off < int64(m.Length) {
			return int(int64(m.HostID) + off)
		}
	}
	return id
}

// mounts of a container's root file system.
func (s *Store) mounts(key string, img *loadedImage, opts RootFSOptions) []mount.Mount {
	dir := s.containerDir(key)
	upper := filepath.Join(dir, "fs")
	if len(img.dirs) == 0 {
		// Nothing below: overlayfs would have no lower layer. The folder's owner is
		// mapped already.
		return []mount.Mount{{Type: "bind", Source: upper, Options: []string{"rw", "rbind"}}}
	}
	options := append(mappingOptions(opts), "workdir="+filepath.Join(dir, "work"), "upperdir="+upper, "lowerdir="+strings.Join(img.dirs, ":"))
	options = append(options, overlayOptions()...)
	if volatileSupported() {
		options = append(options, "volatile")
	}
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
}

// mappingOptions make the mount show shifted owners; package mount knows them.
func mappingOptions(opts RootFSOptions) []string {
	if len(opts.UIDMappings) == 0 || len(opts.GIDMappings) == 0 {
		return nil
	}
	return []string{"uidmap=" + formatMappings(opts.UIDMappings), "gidmap=" + formatMappings(opts.GIDMappings)}
}

func formatMappings(mappings []IDMapping) string {
	out := make([]string, 0, len(mappings))
	for _, m := range mappings {
		out = append(out, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Length))
	}
	return strings.Join(out, ",")
}

// overlayOptions: an inode index would tie an upper folder to its lower layers by
// file handles, and refuse layers shared by several containers.
var overlayOptions = sync.OnceValue(func() []string {
	if _, err := os.Stat("/sys/module/overlay/parameters/index"); err == nil {
		return []string{"index=off"}
	}
	return nil
})

// volatileSupported is true from Linux 5.10. A volatile mount spares the flush of
// the whole file system when a container ends; what a container wrote outside of
// volumes is never used after a crash of the machine, for it is then made anew.
var volatileSupported = sync.OnceValue(func() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 10
})

// Release drops a container's root file system, which is unmounted; an absent one
// is no error. Its files go in the background.
func (s *Store) Release(ctx context.Context, key string) error {
	if !validKey.MatchString(key) {
		return fmt.Errorf("key %q: %w", key, errdefs.ErrInvalidArgument)
	}
	old := s.containerDir(removing + key)
	err := os.Rename(s.containerDir(key), old)
	if errors.Is(err, fs.ErrExist) { // an earlier one of this key is still going
		if err = os.RemoveAll(old); err == nil {
			err = os.Rename(s.containerDir(key), old)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release root file system %s: %w", key, err)
	}
	s.release(ctx, key)
	if err == nil {
		s.background(func(context.Context) { s.removeFolder(old) })
	}
	return nil
}

func (s *Store) removeFolder(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		s.config.Log.Error("remove a container's files", "dir", dir, "error", err)
	}
}

// RootFSUsage tells what the container key wrote.
func (s *Store) RootFSUsage(ctx context.Context, key string) (Usage, error) {
	if !validKey.MatchString(key) {
		return Usage{}, fmt.Errorf("key %q: %w", key, errdefs.ErrInvalidArgument)
	}
	if _, err := os.Stat(s.containerDir(key)); err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", key, errdefs.ErrNotFound)
	}
	du, err := cfs.DiskUsage(ctx, filepath.Join(s.containerDir(key), "fs"))
	if errors.Is(err, fs.ErrNotExist) {
		return Usage{}, nil
	}
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", key, err)
	}
	return Usage{Bytes: du.Size, Inodes: du.Inodes}, nil
}

// RootFSKeys lists all that Prepare and View made and Release did not drop.
func (s *Store) RootFSKeys(context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.ContainersDir())
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		if validKey.MatchString(e.Name()) {
			keys = append(keys, e.Name())
		}
	}
	return keys, nil
}

// recoverContainers learns which images are in use, and removes the folders that
// were being made or removed.
func (s *Store) recoverContainers(ctx context.Context) error {
	entries, err := os.ReadDir(s.ContainersDir())
	if err != nil {
		return err
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for _, e := range entries {
		dir := s.containerDir(e.Name())
		if !validKey.MatchString(e.Name()) {
			s.background(func(context.Context) { s.removeFolder(dir) })
			continue
		}
		id, err := os.ReadFile(filepath.Join(dir, imageFile))
		if err != nil {
			return fmt.Errorf("container %s: %w", e.Name(), err)
		}
		s.held.add(e.Name(), string(id))
	}
	s.background(s.dropUnheld)
	return nil
}

// dropUnheld forgets removed images whose last container went with a crash.
func (s *Store) dropUnheld(ctx context.Context) {
	records, err := s.names.List(ctx)
	if err != nil {
		return
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for _, r := range records {
		if id, ok := strings.CutPrefix(r.Name, heldPrefix); ok && s.held.users(id) == 0 {
			s.dropHeld(ctx, id)
		}
	}
}
