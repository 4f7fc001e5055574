package oci

import (
	"fmt"
	"maps"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a running container; what r leaves unset stays.
func (r *Runtime) Update(id string, res *specs.LinuxResources) error {
	c, err := libcontainer.Load(r.root, id)
	if err != nil {
		return fmt.Errorf("load container: %w", err)
	}
	config := c.Config()
	resources := *config.Cgroups.Resources
	cgroup := *config.Cgroups
	cgroup.Resources, config.Cgroups = &resources, &cgroup
	// Devices stay; replacing the filter of a running container would only
	// open a moment without one.
	resources.SkipDevices = true
	applyCPU(&resources, res.CPU)
	applyMemory(&resources, res.Memory)
	if res.Pids != nil && res.Pids.Limit != nil {
		resources.PidsLimit = res.Pids.Limit
	}
	for _, h := range res.HugepageLimits {
		resources.HugetlbLimit = setHugepage(resources.HugetlbLimit, h)
	}
	if len(res.Unified) > 0 {
		unified := maps.Clone(resources.Unified)
		if unified == nil {
			unified = map[string]string{}
		}
		maps.Copy(unified, res.Unified)
		resources.Unified = unified
	}
	if err := c.Set(config); err != nil {
		return fmt.Errorf("set cgroup: %w", err)
	}
	return nil
}

func applyCPU(r *cgroups.Resources, cpu *specs.LinuxCPU) {
	if cpu == nil {
		return
	}
	if cpu.Shares != nil {
		r.CpuShares = *cpu.Shares
		r.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*cpu.Shares)
	}
	if cpu.Period != nil {
		r.CpuPeriod = *cpu.Period
	}
	if cpu.Quota != nil {
		r.CpuQuota = *cpu.Quota
		if *cpu.Quota == 0 {
			r.CpuQuota = -1
		}
	}
	if cpu.Burst != nil {
		r.CpuBurst = cpu.Burst
	}
	if cpu.Cpus != "" {
		r.CpusetCpus = cpu.Cpus
	}
	if cpu.Mems != "" {
		r.CpusetMems = cpu.Mems
	}
	if cpu.Idle != nil {
		r.CPUIdle = cpu.Idle
	}
}

func applyMemory(r *cgroups.Resources, m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	if m.Limit != nil {
		r.Memory = *m.Limit
		// On v1 a limit above the old memory+swap limit is refused unless that
		// one is set along.
		if m.Swap == nil && r.MemorySwap > 0 {
			r.MemorySwap = max(r.MemorySwap, *m.Limit)
		}
		if *m.Limit == -1 {
			r.MemorySwap = -1
		}
	}
	if m.Swap != nil {
		r.MemorySwap = *m.Swap
	}
	if m.Reservation != nil {
		r.MemoryReservation = *m.Reservation
	}
	if m.CheckBeforeUpdate != nil {
		r.MemoryCheckBeforeUpdate = *m.CheckBeforeUpdate
	}
}

func setHugepage(all []*cgroups.HugepageLimit, h specs.LinuxHugepageLimit) []*cgroups.HugepageLimit {
	changed := make([]*cgroups.HugepageLimit, 0, len(all)+1)
	for _, old := range all {
		if old.Pagesize != h.Pagesize {
			changed = append(changed, old)
		}
	}
	return append(changed, &cgroups.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
}
