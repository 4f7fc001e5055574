package cri

import (
	"context"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RuntimeName is what nodes show as their container runtime.
const RuntimeName = "proa"

// Version tells who this is.
func (s *Service) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: RuntimeName, RuntimeVersion: s.cfg.Version, RuntimeApiVersion: "v1",
	}, nil
}

// Status tells whether pods can be run: the keeper must answer, the network be up.
func (s *Service) Status(ctx context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	version, keeperErr := s.cfg.Keeper.Version(ctx)
	resp := &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			condition(runtimeapi.RuntimeReady, "KeeperNotReady", keeperErr),
			condition(runtimeapi.NetworkReady, "NetworkPluginNotReady", s.cfg.Network.Status(ctx)),
		}},
		RuntimeHandlers: []*runtimeapi.RuntimeHandler{{Name: "", Features: handlerFeatures()}},
		Features:        &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
	}
	if req.Verbose {
		s.mu.Lock()
		defer s.mu.Unlock()
		resp.Info = info(map[string]any{
			"keeper": version, "host": s.host, "sandboxes": len(s.sandboxes), "containers": len(s.containers),
			"stateDir": s.cfg.StateDir, "containersDir": s.cfg.ContainersDir,
		})
	}
	return resp, nil
}

func condition(kind, reason string, err error) *runtimeapi.RuntimeCondition {
	if err == nil {
		return &runtimeapi.RuntimeCondition{Type: kind, Status: true}
	}
	return &runtimeapi.RuntimeCondition{Type: kind, Reason: reason, Message: err.Error()}
}

// handlerFeatures depend on the kernel: recursive read-only mounts need
// mount_setattr(2) (5.12), user namespaces need idmapped overlay and tmpfs (6.3).
func handlerFeatures() *runtimeapi.RuntimeHandlerFeatures {
	major, minor := kernel()
	since := func(ma, mi int) bool { return major > ma || major == ma && minor >= mi }
	return &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: since(5, 12), UserNamespaces: since(6, 3)}
}

func kernel() (major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return 0, 0
	}
	number := func(b []byte) (n int, rest []byte) {
		for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
			n, b = 10*n+int(b[0]-'0'), b[1:]
		}
		return n, b
	}
	major, rest := number(u.Release[:])
	if len(rest) > 1 {
		minor, _ = number(rest[1:])
	}
	return major, minor
}

// RuntimeConfig says that the caller's cgroup paths are taken as they are.
func (s *Service) RuntimeConfig(context.Context, *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{
		Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS},
	}, nil
}

// UpdateRuntimeConfig passes the node's pod range on, if the network wants it.
func (s *Service) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	cidr := req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if n, ok := s.cfg.Network.(PodCIDRSetter); ok && cidr != "" {
		if err := n.SetPodCIDR(ctx, cidr); err != nil {
			return nil, wrap(err, "set the pod range to %s", cidr)
		}
	}
	return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
}

// CheckpointContainer is not built.
func (s *Service) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) (*runtimeapi.CheckpointContainerResponse, error) {
	return nil, fail(codes.Unimplemented, "this runtime does not checkpoint containers")
}
