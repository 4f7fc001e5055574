package spec

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func setResources(in *Input, s *specs.Spec) error {
	devices := s.Linux.Resources.Devices
	s.Linux.Resources = Resources(in.Config.GetLinux().GetResources(), in.Host)
	s.Linux.Resources.Devices = devices
	return nil
}

// Resources turns the CRI's limits into the OCI's. Zero means unset in the CRI,
// and what is unset is left to the cgroup's default, or as it is in an update.
func Resources(r *runtimeapi.LinuxContainerResources, host Host) *specs.LinuxResources {
	out := &specs.LinuxResources{}
	if r == nil {
		return out
	}
	cpu := &specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems}
	if r.CpuShares != 0 {
		cpu.Shares = ptr(uint64(r.CpuShares))
	}
	if r.CpuQuota != 0 {
		cpu.Quota = ptr(r.CpuQuota)
	}
	if r.CpuPeriod != 0 {
		cpu.Period = ptr(uint64(r.CpuPeriod))
	}
	if *cpu != (specs.LinuxCPU{}) {
		out.CPU = cpu
	}
	if r.MemoryLimitInBytes != 0 {
		out.Memory = &specs.LinuxMemory{Limit: ptr(r.MemoryLimitInBytes)}
		if r.MemorySwapLimitInBytes != 0 && host.MemorySwap {
			out.Memory.Swap = ptr(r.MemorySwapLimitInBytes)
		}
	}
	if host.HugeTLB {
		for _, h := range r.HugepageLimits {
			out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.PageSize, Limit: h.Limit})
		}
	}
	if host.CgroupV2 {
		out.Unified = r.Unified
	}
	return out
}

func ptr[T any](v T) *T { return &v }
