package cri

import (
	"context"
	"maps"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// UpdateContainerResources changes the limits of a container; what is zero in
// the request stays as it is.
func (s *Service) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	c := s.container(req.ContainerId)
	if c == nil {
		return nil, noContainer(req.ContainerId)
	}
	if req.Linux == nil {
		return nil, fail(codes.InvalidArgument, "update container %s: no Linux resources given", c.id)
	}
	c.op.Lock()
	defer c.op.Unlock()
	st, _ := s.snapshot(c)
	if st.State == keeper.Exited {
		return nil, fail(codes.FailedPrecondition, "container %s is exited", c.id)
	}
	if err := s.cfg.Keeper.UpdateResources(ctx, c.id, spec.Resources(req.Linux, s.host)); err != nil {
		return nil, wrap(err, "update container %s", c.id)
	}
	record := c.record // only ever changed under c.op
	record.Config = proto.CloneOf(record.Config)
	if record.Config.Linux == nil {
		record.Config.Linux = &runtimeapi.LinuxContainerConfig{}
	}
	record.Config.Linux.Resources = merge(record.Config.Linux.Resources, req.Linux)
	if err := s.store.saveContainer(&record); err != nil {
		return nil, wrap(err, "update container %s", c.id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.record = record
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}

// merge lays the set fields of change over those of old.
func merge(old, change *runtimeapi.LinuxContainerResources) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{}
	if old != nil {
		out = proto.CloneOf(old)
	}
	unified := maps.Clone(out.Unified)
	hugepages := out.HugepageLimits
	proto.Merge(out, change) // sets scalars that are not zero; appends lists
	out.HugepageLimits = hugepages
	if len(change.HugepageLimits) > 0 {
		out.HugepageLimits = proto.CloneOf(change).HugepageLimits
	}
	if len(change.Unified) > 0 && unified != nil {
		maps.Copy(unified, change.Unified)
		out.Unified = unified
	}
	return out
}
