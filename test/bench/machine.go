package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// processes of the cluster that are its own, not its pods': the server, the
// keeper and what the keeper starts for itself (pause).
func (b *bench) processes() map[string][]int {
	found := map[string][]int{"proa": {b.status.PID}, "keeper": {b.status.KeeperPID}}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, parent int
		_, after, _ := strings.Cut(string(data), ") ")
		_, _ = fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid)
		_, _ = fmt.Sscanf(after, "%c %d", new(rune), &parent)
		if comm := between(string(data), "(", ")"); parent == b.status.KeeperPID && comm == "pause" {
			found["pause"] = append(found["pause"], pid)
		}
	}
	return found
}

func between(s, open, shut string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, shut)
	return s
}

// pss of all the processes, in MiB, in all and by name.
func (b *bench) pss() (total float64, by map[string]float64) {
	by = map[string]float64{}
	for name, pids := range b.processes() {
		for _, pid := range pids {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				var kib float64
				if _, err := fmt.Sscanf(line, "Pss: %f kB", &kib); err == nil {
					by[name] += kib / 1024
					total += kib / 1024
				}
			}
		}
	}
	return total, by
}

func (b *bench) memory(context.Context) ([]Figure, error) {
	total, by := b.pss()
	figures := []Figure{atMost("memory idle, all processes (PSS)", total, "MiB", 150)}
	for _, name := range []string{"proa", "keeper", "pause"} {
		figures = append(figures, Figure{Name: "  of it " + name, Value: by[name], Unit: "MiB"})
	}
	return figures, nil
}

// memoryPerPod compares with no pods, a moment after they are all Ready.
func (b *bench) memoryPerPod(ctx context.Context) ([]Figure, error) {
	const pods = 30
	before, _ := b.pss()
	var names []string
	for range pods {
		name, err := b.create(ctx, false)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if _, err := b.await(ctx, b.ready, names...); err != nil {
		return nil, err
	}
	time.Sleep(10 * time.Second)
	after, _ := b.pss()
	if _, err := b.delete(ctx, names...); err != nil {
		return nil, err
	}
	return []Figure{atMost("memory a pod beside its processes (PSS)", max(0, after-before)/pods, "MiB", 0.3)}, nil
}

// cpu time spent so far by the server, the keeper and all that the keeper has
// waited for.
func (b *bench) cpu() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	var ticks int64
	for _, pid := range []int{b.status.PID, b.status.KeeperPID} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(after)
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			var n int64
			_, _ = fmt.Sscan(f, &n)
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}
