package server_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

// quiet gives the pool time to fill up, outside of what is measured.
func quiet(b *testing.B) {
	b.StopTimer()
	time.Sleep(200 * time.Millisecond)
	b.StartTimer()
}

func BenchmarkSandbox(b *testing.B) {
	k := keepertest.Start(b)
	for b.Loop() {
		quiet(b)
		if _, err := k.Client.StartSandbox(b.Context(), keeper.Sandbox{ID: "s", Cgroup: k.Cgroup + "/s", Hostname: "h"}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := k.Client.RemoveSandbox(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkSandboxShared(b *testing.B) { // not from the pool
	k := keepertest.Start(b)
	for b.Loop() {
		quiet(b)
		if _, err := k.Client.StartSandbox(b.Context(), keeper.Sandbox{ID: "s", Cgroup: k.Cgroup + "/s", Hostname: "h", SharePID: true}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := k.Client.RemoveSandbox(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkRemoveSandbox(b *testing.B) {
	k := keepertest.Start(b)
	for b.Loop() {
		b.StopTimer()
		if _, err := k.Client.StartSandbox(b.Context(), keeper.Sandbox{ID: "s", Cgroup: k.Cgroup + "/s"}); err != nil {
			b.Fatal(err)
		}
		quiet(b)
		if err := k.Client.RemoveSandbox(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkStart(b *testing.B, change func(*keeper.Container)) {
	k := keepertest.Start(b)
	sb := k.Sandbox(b)
	r := k.Request(b, sb, "c", "sleep", "1000")
	change(&r)
	for b.Loop() {
		if _, err := k.Client.Create(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if _, err := k.Client.Start(b.Context(), r.ID); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := k.Client.Remove(b.Context(), r.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkStart(b *testing.B) { benchmarkStart(b, func(*keeper.Container) {}) }

func BenchmarkStartNoSeccomp(b *testing.B) {
	benchmarkStart(b, func(c *keeper.Container) { c.Spec.Linux.Seccomp = nil })
}

func BenchmarkStartSmallQuota(b *testing.B) {
	benchmarkStart(b, func(c *keeper.Container) {
		quota, period := int64(10000), uint64(100000)
		c.Spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	})
}

func BenchmarkRemoveRunning(b *testing.B) {
	k := keepertest.Start(b)
	sb := k.Sandbox(b)
	r := k.Request(b, sb, "c", "sleep", "1000")
	for b.Loop() {
		b.StopTimer()
		if _, err := k.Client.Run(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := k.Client.Remove(b.Context(), r.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartFourInParallel(b *testing.B) {
	k := keepertest.Start(b)
	sb := k.Sandbox(b)
	for b.Loop() {
		var all sync.WaitGroup
		for i := range 4 {
			r := k.Request(b, sb, fmt.Sprint("c", i), "sleep", "1000")
			all.Go(func() {
				if _, err := k.Client.Run(context.Background(), r); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		b.StopTimer()
		for i := range 4 {
			if err := k.Client.Remove(b.Context(), keepertest.ID(b, fmt.Sprint("c", i))); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
}

func BenchmarkExec(b *testing.B) {
	k := keepertest.Start(b)
	sb := k.Sandbox(b)
	r := run(b, k, sb, "c", "sleep 1000")
	p := &specs.Process{Args: []string{"true"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	for b.Loop() {
		s, err := k.Client.Exec(b.Context(), keeper.Exec{ContainerID: r.ID, Process: p})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	k := keepertest.Start(b)
	for b.Loop() {
		if _, err := k.Client.Version(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLog(b *testing.B) {
	k := keepertest.Start(b)
	sb := k.Sandbox(b)
	b.SetBytes(200 << 20)
	pid := k.PID(b)
	before := cpu(b, pid)
	defer func() { b.ReportMetric((cpu(b, pid)-before).Seconds()*1000/float64(b.N), "keeper-CPU-ms/op") }()
	for b.Loop() {
		r := run(b, k, sb, "c", "yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 | head -c 209715200")
		wait(b, k, r.ID)
		b.StopTimer()
		_ = os.Remove(r.LogPath)
		if err := k.Client.Remove(b.Context(), r.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkMemory (with -benchtime 1x) reports what the keeper holds, idle and for each of a number
// of containers that run.
func BenchmarkMemory(b *testing.B) {
	k := keepertest.Start(b)
	pid := k.PID(b)
	rest := func() { time.Sleep(5 * time.Second) } // until memory is given back
	for b.Loop() {
		rest()
		b.ReportMetric(float64(pss(b, pid)), "fresh-KiB")
		sb := k.Sandbox(b)
		const n = 40
		// The first start maps code that all others share.
		first := run(b, k, sb, "first", "exit 0")
		wait(b, k, first.ID)
		rest()
		idle := pss(b, pid)
		for i := range n {
			run(b, k, sb, fmt.Sprint("c", i), "sleep 1000")
		}
		rest()
		full := pss(b, pid)
		b.ReportMetric(float64(idle), "idle-KiB")
		b.ReportMetric(float64(full-idle)/n, "KiB/container")
		b.ReportMetric(float64(pss(b, sb.PID)), "pause-KiB")
	}
}

func pss(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no PSS")
	return 0
}

// cpu is what a process has used, in user and kernel mode.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ
}
