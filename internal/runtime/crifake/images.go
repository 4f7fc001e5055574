package crifake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"

	"github.com/distribution/reference"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is one image of the store. Zero fields are made up from its name.
type Image struct {
	ID          string // "sha256:…"
	RepoTags    []string
	RepoDigests []string
	Size        uint64
	UID         *int64
	Username    string
	Pinned      bool
}

func (i *Image) ref() string {
	if len(i.RepoDigests) > 0 {
		return i.RepoDigests[0]
	}
	return i.ID
}

func (i *Image) cri() *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id: i.ID, RepoTags: i.RepoTags, RepoDigests: i.RepoDigests, Size: i.Size,
		Username: i.Username, Pinned: i.Pinned, Spec: &runtimeapi.ImageSpec{Image: i.ID},
	}
	if i.UID != nil {
		out.Uid = &runtimeapi.Int64Value{Value: *i.UID}
	}
	return out
}

// Remote is an image that a registry has. With Auth set a pull must bring this
// user and password.
type Remote struct {
	Image              Image
	Username, Password string
	Err                error // every pull fails so
}

// normalize gives a reference its full form; an ID stays as it is.
func normalize(ref string) (string, error) {
	if strings.HasPrefix(ref, "sha256:") {
		return ref, nil
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

func complete(name string, img Image) *Image {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	if img.ID == "" {
		img.ID = "sha256:" + sum
	}
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		if len(img.RepoDigests) == 0 {
			img.RepoDigests = []string{named.Name() + "@sha256:" + sum}
		}
		if _, ok := named.(reference.Tagged); ok && len(img.RepoTags) == 0 {
			img.RepoTags = []string{name}
		}
	}
	if img.Size == 0 {
		img.Size = 1 << 20
	}
	return &img
}

// AddImage puts an image into the store and returns its ID.
func (r *Runtime) AddImage(ref string, img Image) string {
	name, err := normalize(ref)
	if err != nil {
		panic(fmt.Sprintf("crifake: AddImage(%q): %v", ref, err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	full := complete(name, img)
	r.images[full.ID] = full
	return full.ID
}

// AddRemote puts an image into the registry.
func (r *Runtime) AddRemote(ref string, remote Remote) {
	name, err := normalize(ref)
	if err != nil {
		panic(fmt.Sprintf("crifake: AddRemote(%q): %v", ref, err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remote[name] = remote
}

// find an image by ID, tag or digest; r.mu is held.
func (r *Runtime) find(ref string) *Image {
	name, err := normalize(ref)
	if err != nil {
		return nil
	}
	if img := r.images[name]; img != nil {
		return img
	}
	for _, img := range r.images {
		for _, n := range append(append([]string{}, img.RepoTags...), img.RepoDigests...) {
			if n == name {
				return img
			}
		}
	}
	return nil
}

// PullImage copies an image from the registry into the store.
func (r *Runtime) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	return call(ctx, r, "PullImage", req, func() (*runtimeapi.PullImageResponse, error) {
		name, err := normalize(req.GetImage().GetImage())
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "parse image reference %q: %v", req.GetImage().GetImage(), err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		remote, ok := r.remote[name]
		switch {
		case !ok && r.cfg.Unpullable:
			return nil, status.Errorf(codes.NotFound, "pull %s: not found", name)
		case remote.Err != nil:
			return nil, remote.Err
		case remote.Username != "" && (req.GetAuth().GetUsername() != remote.Username || req.GetAuth().GetPassword() != remote.Password):
			return nil, status.Errorf(codes.PermissionDenied, "pull %s: pull access denied, repository does not exist or may require authorization", name)
		}
		img := complete(name, remote.Image)
		r.images[img.ID] = img
		return &runtimeapi.PullImageResponse{ImageRef: img.ID}, nil
	})
}

// ImageStatus returns one image, nil when absent.
func (r *Runtime) ImageStatus(ctx context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return call(ctx, r, "ImageStatus", req, func() (*runtimeapi.ImageStatusResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		img := r.find(req.GetImage().GetImage())
		if img == nil {
			return &runtimeapi.ImageStatusResponse{}, nil
		}
		return &runtimeapi.ImageStatusResponse{Image: img.cri()}, nil
	})
}

// ListImages lists the store by ID.
func (r *Runtime) ListImages(ctx context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return call(ctx, r, "ListImages", req, func() (*runtimeapi.ListImagesResponse, error) {
		return &runtimeapi.ListImagesResponse{Images: r.listImages(req.GetFilter())}, nil
	})
}

func (r *Runtime) listImages(f *runtimeapi.ImageFilter) []*runtimeapi.Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ref := f.GetImage().GetImage(); ref != "" {
		if img := r.find(ref); img != nil {
			return []*runtimeapi.Image{img.cri()}
		}
		return nil
	}
	var out []*runtimeapi.Image
	for _, img := range r.images {
		out = append(out, img.cri())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Id < out[j].Id })
	return out
}

// StreamImages is ListImages as a stream.
func (r *Runtime) StreamImages(req *runtimeapi.StreamImagesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamImagesResponse]) error {
	items, err := call(stream.Context(), r, "StreamImages", req, func() ([]*runtimeapi.Image, error) {
		return r.listImages(req.GetFilter()), nil
	})
	if err != nil || len(items) == 0 {
		return err
	}
	return stream.Send(&runtimeapi.StreamImagesResponse{Images: items})
}

// RemoveImage drops an image with all its names.
func (r *Runtime) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	return call(ctx, r, "RemoveImage", req, func() (*runtimeapi.RemoveImageResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if img := r.find(req.GetImage().GetImage()); img != nil {
			delete(r.images, img.ID)
		}
		return &runtimeapi.RemoveImageResponse{}, nil
	})
}

// ImageFsInfo sums the sizes of the store.
func (r *Runtime) ImageFsInfo(ctx context.Context, req *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return call(ctx, r, "ImageFsInfo", req, func() (*runtimeapi.ImageFsInfoResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		var sum uint64
		for _, img := range r.images {
			sum += img.Size
		}
		fs := &runtimeapi.FilesystemUsage{
			Timestamp: r.clock.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
			UsedBytes: &runtimeapi.UInt64Value{Value: sum}, InodesUsed: &runtimeapi.UInt64Value{Value: uint64(len(r.images))},
		}
		return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{fs}}, nil
	})
}
