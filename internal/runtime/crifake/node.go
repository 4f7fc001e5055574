package crifake

import (
	"context"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version names the fake.
func (r *Runtime) Version(ctx context.Context, req *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return call(ctx, r, "Version", req, func() (*runtimeapi.VersionResponse, error) {
		return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "crifake", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
	})
}

// Status returns the conditions that SetCondition set.
func (r *Runtime) Status(ctx context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return call(ctx, r, "Status", req, func() (*runtimeapi.StatusResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		st := &runtimeapi.RuntimeStatus{}
		for _, c := range r.conditions {
			st.Conditions = append(st.Conditions, proto.CloneOf(c))
		}
		all := &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: true, UserNamespaces: true}
		resp := &runtimeapi.StatusResponse{
			Status:          st,
			RuntimeHandlers: []*runtimeapi.RuntimeHandler{{Features: all}},
			Features:        &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
		}
		for _, h := range r.cfg.Handlers {
			resp.RuntimeHandlers = append(resp.RuntimeHandlers, &runtimeapi.RuntimeHandler{Name: h, Features: all})
		}
		if req.Verbose {
			resp.Info = map[string]string{"info": "{}"}
		}
		return resp, nil
	})
}

// RuntimeConfig says that cgroups are made by path.
func (r *Runtime) RuntimeConfig(ctx context.Context, req *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return call(ctx, r, "RuntimeConfig", req, func() (*runtimeapi.RuntimeConfigResponse, error) {
		return &runtimeapi.RuntimeConfigResponse{Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS}}, nil
	})
}

// UpdateRuntimeConfig keeps the pod CIDR, see PodCIDR.
func (r *Runtime) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return call(ctx, r, "UpdateRuntimeConfig", req, func() (*runtimeapi.UpdateRuntimeConfigResponse, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.podCIDR = req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
		return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
	})
}

// UpdatePodSandboxResources is accepted.
func (r *Runtime) UpdatePodSandboxResources(ctx context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return call(ctx, r, "UpdatePodSandboxResources", req, func() (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
		return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
	})
}

// ListMetricDescriptors has none.
func (r *Runtime) ListMetricDescriptors(ctx context.Context, req *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	return &runtimeapi.ListMetricDescriptorsResponse{}, nil
}

// ListPodSandboxMetrics has none.
func (r *Runtime) ListPodSandboxMetrics(ctx context.Context, req *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	return &runtimeapi.ListPodSandboxMetricsResponse{}, nil
}
