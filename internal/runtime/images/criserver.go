package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	cfs "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// How long the disk use of containers, which takes a walk over their files, is
// remembered.
const usageFor = 10 * time.Second

// CRIServer is a Store as the CRI's image service.
type CRIServer struct {
	runtimeapi.UnimplementedImageServiceServer
	store *Store

	usageMu sync.Mutex
	usage   Usage
	usageAt time.Time
}

var _ runtimeapi.ImageServiceServer = (*CRIServer)(nil)

// NewCRIServer serves the store.
func NewCRIServer(s *Store) *CRIServer { return &CRIServer{store: s} }

// ListImages lists all images, or those that the filter names.
func (c *CRIServer) ListImages(ctx context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	imgs, err := c.list(ctx, req.GetFilter())
	if err != nil {
		return nil, criError(err)
	}
	return &runtimeapi.ListImagesResponse{Images: imgs}, nil
}

// StreamImages is ListImages in portions.
func (c *CRIServer) StreamImages(req *runtimeapi.StreamImagesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamImagesResponse]) error {
	imgs, err := c.list(stream.Context(), req.GetFilter())
	if err != nil {
		return criError(err)
	}
	for portion := range slices.Chunk(imgs, 100) {
		if err := stream.Send(&runtimeapi.StreamImagesResponse{Images: portion}); err != nil {
			return err
		}
	}
	return nil
}

func (c *CRIServer) list(ctx context.Context, filter *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	if ref := filter.GetImage().GetImage(); ref != "" {
		img, err := c.store.Get(ctx, ref)
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*runtimeapi.Image{toCRI(img)}, nil
	}
	imgs, err := c.store.List(ctx)
	out := make([]*runtimeapi.Image, 0, len(imgs))
	for _, img := range imgs {
		out = append(out, toCRI(img))
	}
	return out, err
}

// ImageStatus tells about one image; its Image is nil when it is not here.
func (c *CRIServer) ImageStatus(ctx context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	img, err := c.store.Get(ctx, req.GetImage().GetImage())
	if errdefs.IsNotFound(err) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, criError(err)
	}
	resp := &runtimeapi.ImageStatusResponse{Image: toCRI(img)}
	if req.GetVerbose() {
		if resp.Info, err = c.info(ctx, img); err != nil {
			return nil, criError(err)
		}
	}
	return resp, nil
}

func (c *CRIServer) info(ctx context.Context, img Image) (map[string]string, error) {
	config, err := c.store.Config(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{"imageSpec": config, "manifest": img.Manifest, "platform": img.Platform})
	if err != nil {
		return nil, err
	}
	return map[string]string{"info": string(data)}, nil
}

// PullImage pulls and answers with the image's ID.
func (c *CRIServer) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	auth, err := authFromCRI(req.GetAuth())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	img, err := c.store.Pull(ctx, req.GetImage().GetImage(), PullOptions{Auth: auth})
	if err != nil {
		return nil, criError(err)
	}
	return &runtimeapi.PullImageResponse{ImageRef: img.ID}, nil
}

// RemoveImage removes an image with all its names, by any of them.
func (c *CRIServer) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	if err := c.store.Remove(ctx, req.GetImage().GetImage()); err != nil {
		return nil, criError(err)
	}
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo tells the disk use of image layers, and of what containers wrote.
func (c *CRIServer) ImageFsInfo(ctx context.Context, _ *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	layers, err := c.store.LayersUsage(ctx)
	if err != nil {
		return nil, criError(err)
	}
	containers, err := c.containersUsage(ctx)
	if err != nil {
		return nil, criError(err)
	}
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems:     []*runtimeapi.FilesystemUsage{fsUsage(filepath.Join(c.store.Root(), "snapshots"), layers)},
		ContainerFilesystems: []*runtimeapi.FilesystemUsage{fsUsage(c.store.ContainersDir(), containers)},
	}, nil
}

func (c *CRIServer) containersUsage(ctx context.Context) (Usage, error) {
	c.usageMu.Lock()
	defer c.usageMu.Unlock()
	if time.Since(c.usageAt) < usageFor {
		return c.usage, nil
	}
	usage, err := c.store.ContainersUsage(ctx)
	if err != nil {
		return Usage{}, err
	}
	c.usage, c.usageAt = usage, time.Now()
	return usage, nil
}

func fsUsage(mountpoint string, u Usage) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: mountpoint},
		UsedBytes:  &runtimeapi.UInt64Value{Value: uint64(u.Bytes)},
		InodesUsed: &runtimeapi.UInt64Value{Value: uint64(u.Inodes)},
	}
}

func toCRI(img Image) *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id: img.ID, RepoTags: img.Tags, RepoDigests: img.Digests, Size: uint64(img.Size), Pinned: img.Pinned,
		Spec: &runtimeapi.ImageSpec{Image: img.ID},
	}
	user, _, _ := strings.Cut(img.User, ":")
	if uid, err := strconv.ParseInt(user, 10, 64); err == nil {
		out.Uid = &runtimeapi.Int64Value{Value: uid}
	} else {
		out.Username = user
	}
	return out
}

// criError gives an error the status code that CRI clients decide by. The node
// agent looks for RegistryUnavailable at the beginning of the message.
func criError(err error) error {
	var e *Error
	code := codes.Unknown
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, ErrUnreachable):
		return status.Error(codes.Unavailable, crierrors.ErrRegistryUnavailable.Error()+": "+err.Error())
	case errors.Is(err, ErrInterrupted):
		code = codes.Unavailable
	case errors.Is(err, ErrUnauthorized):
		code = codes.PermissionDenied
	case errors.Is(err, ErrBadReference):
		code = codes.InvalidArgument
	case errors.Is(err, ErrDiskFull):
		code = codes.ResourceExhausted
	case errors.Is(err, ErrCorrupt):
		code = codes.DataLoss
	case errors.Is(err, ErrNoPlatform), errors.Is(err, ErrUnsupported), errdefs.IsNotFound(err):
		code = codes.NotFound
	case errors.As(err, &e):
		code = codes.Internal
	}
	return status.Error(code, err.Error())
}

// LayersUsage is the disk use of all unpacked layers.
func (s *Store) LayersUsage(ctx context.Context) (Usage, error) {
	ctx = s.context(ctx)
	var names []string
	err := s.layers.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindCommitted {
			names = append(names, info.Name)
		}
		return nil
	})
	if err != nil {
		return Usage{}, fmt.Errorf("disk use of images: %w", err)
	}
	var sum Usage
	for _, name := range names {
		u, err := s.layers.Usage(ctx, name)
		if errdefs.IsNotFound(err) { // removed meanwhile
			continue
		}
		if err != nil {
			return Usage{}, fmt.Errorf("disk use of images: %w", err)
		}
		sum.Bytes += u.Size
		sum.Inodes += u.Inodes
	}
	return sum, nil
}

// ContainersUsage is the disk use of what all containers wrote.
func (s *Store) ContainersUsage(ctx context.Context) (Usage, error) {
	du, err := cfs.DiskUsage(ctx, s.ContainersDir())
	if err != nil {
		return Usage{}, fmt.Errorf("disk use of containers: %w", err)
	}
	return Usage{Bytes: du.Size, Inodes: du.Inodes}, nil
}
