package cri

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is what stock CRI clients allow: a list of all containers can be large.
const maxMessage = 16 << 20

// Dial connects to a CRI socket ("unix:///run/containerd/containerd.sock"). The
// connection is made on the first call and made again when it breaks.
func Dial(endpoint string) (*Remote, error) {
	conn, err := grpc.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("container runtime %s: %w", endpoint, err)
	}
	return NewRemote(conn), nil
}

// NewRemote speaks CRI over a connection that the caller made.
func NewRemote(conn *grpc.ClientConn) *Remote {
	return &Remote{
		conn:    conn,
		runtime: runtimeapi.NewRuntimeServiceClient(conn),
		images:  runtimeapi.NewImageServiceClient(conn),
	}
}

// Remote is a CRI server behind a socket.
type Remote struct {
	conn    *grpc.ClientConn
	runtime runtimeapi.RuntimeServiceClient
	images  runtimeapi.ImageServiceClient
}

var (
	_ Runtime = (*Remote)(nil)
	_ Images  = (*Remote)(nil)
	_ Events  = (*Remote)(nil)
)

// Close ends the connection.
func (r *Remote) Close() error { return r.conn.Close() }

func (r *Remote) ContainerEvents(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error {
	stream, err := r.runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return fmt.Errorf("container events: %w", err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("container events: %w", err)
		}
		f(e)
	}
}

// What follows only drops the call options that the generated clients take.

func (r *Remote) Version(ctx context.Context, req *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return r.runtime.Version(ctx, req)
}

func (r *Remote) Status(ctx context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return r.runtime.Status(ctx, req)
}

func (r *Remote) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	return r.runtime.RunPodSandbox(ctx, req)
}

func (r *Remote) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return r.runtime.StopPodSandbox(ctx, req)
}

func (r *Remote) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return r.runtime.RemovePodSandbox(ctx, req)
}

func (r *Remote) PodSandboxStatus(ctx context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return r.runtime.PodSandboxStatus(ctx, req)
}

func (r *Remote) ListPodSandbox(ctx context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return r.runtime.ListPodSandbox(ctx, req)
}

func (r *Remote) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	return r.runtime.CreateContainer(ctx, req)
}

func (r *Remote) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return r.runtime.StartContainer(ctx, req)
}

func (r *Remote) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return r.runtime.StopContainer(ctx, req)
}

func (r *Remote) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return r.runtime.RemoveContainer(ctx, req)
}

func (r *Remote) ListContainers(ctx context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return r.runtime.ListContainers(ctx, req)
}

func (r *Remote) ContainerStatus(ctx context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return r.runtime.ContainerStatus(ctx, req)
}

func (r *Remote) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return r.runtime.UpdateContainerResources(ctx, req)
}

func (r *Remote) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return r.runtime.ReopenContainerLog(ctx, req)
}

func (r *Remote) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return r.runtime.ExecSync(ctx, req)
}

func (r *Remote) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return r.runtime.Exec(ctx, req)
}

func (r *Remote) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return r.runtime.Attach(ctx, req)
}

func (r *Remote) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return r.runtime.PortForward(ctx, req)
}

func (r *Remote) ListContainerStats(ctx context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return r.runtime.ListContainerStats(ctx, req)
}

func (r *Remote) ListPodSandboxStats(ctx context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return r.runtime.ListPodSandboxStats(ctx, req)
}

func (r *Remote) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return r.runtime.UpdateRuntimeConfig(ctx, req)
}

func (r *Remote) ListImages(ctx context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return r.images.ListImages(ctx, req)
}

func (r *Remote) ImageStatus(ctx context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return r.images.ImageStatus(ctx, req)
}

func (r *Remote) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	return r.images.PullImage(ctx, req)
}

func (r *Remote) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	return r.images.RemoveImage(ctx, req)
}

func (r *Remote) ImageFsInfo(ctx context.Context, req *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return r.images.ImageFsInfo(ctx, req)
}
