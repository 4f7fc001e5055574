package oci

import (
	"math"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestClampProcess(t *testing.T) {
	adj := func(n int) *int { return &n }
	nofile := func(hard, soft uint64) []specs.POSIXRlimit {
		return []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: hard, Soft: soft}}
	}
	bound := limits{oomScoreAdj: 0, hard: map[string]uint64{"RLIMIT_NOFILE": 1000}}
	for name, c := range map[string]struct {
		l      limits
		p      specs.Process
		adj    int
		limits []specs.POSIXRlimit
	}{
		"none asked":               {bound, specs.Process{}, 0, nil},
		"none asked, free":         {limits{unlimited: true, oomScoreAdj: -999}, specs.Process{}, 0, nil},
		"worse is allowed":         {bound, specs.Process{OOMScoreAdj: adj(900)}, 900, nil},
		"better is not":            {bound, specs.Process{OOMScoreAdj: adj(-997)}, 0, nil},
		"better with privilege":    {limits{unlimited: true}, specs.Process{OOMScoreAdj: adj(-997)}, -997, nil},
		"ours is worse than zero":  {limits{oomScoreAdj: 500}, specs.Process{}, 500, nil},
		"limits within ours":       {bound, specs.Process{Rlimits: nofile(900, 800)}, 0, nofile(900, 800)},
		"limits beyond ours":       {bound, specs.Process{Rlimits: nofile(math.MaxUint64, 2000)}, 0, nofile(1000, 1000)},
		"limits beyond, privilege": {limits{unlimited: true, hard: bound.hard}, specs.Process{Rlimits: nofile(5000, 5000)}, 0, nofile(5000, 5000)},
	} {
		asked := append([]specs.POSIXRlimit(nil), c.p.Rlimits...)
		got := c.l.clampProcess(&c.p)
		if *got.OOMScoreAdj != c.adj {
			t.Errorf("%s: score %d, want %d", name, *got.OOMScoreAdj, c.adj)
		}
		for i := range c.limits {
			if got.Rlimits[i] != c.limits[i] {
				t.Errorf("%s: %+v, want %+v", name, got.Rlimits[i], c.limits[i])
			}
			if c.p.Rlimits[i] != asked[i] {
				t.Errorf("%s: the request was changed", name)
			}
		}
	}
}

func TestWithoutQuota(t *testing.T) {
	quota, shares := int64(1000), uint64(2)
	l := &specs.Linux{Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Shares: &shares}}}
	got := withoutQuota(l)
	if got.Resources.CPU.Quota != nil || *got.Resources.CPU.Shares != 2 {
		t.Errorf("got %+v", got.Resources.CPU)
	}
	if l.Resources.CPU.Quota == nil {
		t.Error("the request was changed")
	}
}

func TestWithoutX32(t *testing.T) {
	archs := []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	l := &specs.Linux{Seccomp: &specs.LinuxSeccomp{Architectures: slices.Clone(archs)}}
	got := withoutX32(l)
	if !slices.Equal(got.Seccomp.Architectures, archs[:2]) {
		t.Errorf("got %v", got.Seccomp.Architectures)
	}
	if !slices.Equal(l.Seccomp.Architectures, archs) {
		t.Error("the request was changed")
	}
	if withoutX32(got) != got {
		t.Error("nothing to leave out, yet copied")
	}
}
