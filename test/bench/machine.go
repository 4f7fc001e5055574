package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

// sizes of a process's resident memory, in MiB of PSS.
type sizes struct{ all, anonymous, file float64 }

// pss of all the processes, in all and by name.
func (b *bench) pss() (total float64, by map[string]sizes) {
	by = map[string]sizes{}
	for name, pids := range b.processes() {
		for _, pid := range pids {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if err != nil {
				continue
			}
			s := by[name]
			for line := range strings.Lines(string(data)) {
				var kib float64
				for field, into := range map[string]*float64{"Pss": &s.all, "Pss_Anon": &s.anonymous, "Pss_File": &s.file} {
					if n, _ := fmt.Sscanf(line, field+": %f kB", &kib); n == 1 {
						*into += kib / 1024
					}
				}
			}
			by[name] = s
		}
	}
	for _, s := range by {
		total += s.all
	}
	return total, by
}

// settle is how long after the last work memory is idle: what the work has left
// behind is collected by then.
const settle = 15 * time.Second

func (b *bench) memory(context.Context) ([]Figure, error) {
	time.Sleep(settle)
	total, by := b.pss()
	figures := []Figure{atMost("memory idle, all processes (PSS)", total, "MiB", 150).beside("690–734")}
	for _, name := range []string{"proa", "keeper", "pause"} {
		s := by[name]
		figures = append(figures, partOf(Figure{Name: name, Value: s.all, Unit: "MiB"}))
		if name == "proa" {
			figures = append(figures, partOf(Figure{Name: "proa, anonymous", Value: s.anonymous, Unit: "MiB"}),
				partOf(Figure{Name: "proa, of files", Value: s.file, Unit: "MiB"}))
		}
	}
	return figures, nil
}

// memoryPerPod compares with no pods, a moment after they are all Ready.
func (b *bench) memoryPerPod(ctx context.Context) ([]Figure, error) {
	const pods = 30
	time.Sleep(settle)
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
	time.Sleep(settle)
	after, _ := b.pss()
	if _, err := b.delete(ctx, names...); err != nil {
		return nil, err
	}
	return []Figure{atMost("memory a pod beside its processes (PSS)", max(0, after-before)/pods, "MiB", 0.3).beside("3.7")}, nil
}

// spent is CPU time used so far.
type spent struct{ server, keeper, children time.Duration }

func (s spent) all() time.Duration { return s.server + s.keeper + s.children }

func (s spent) since(before spent) spent {
	return spent{s.server - before.server, s.keeper - before.keeper, s.children - before.children}
}

// cpu time of the server, the keeper, and of all that these have waited for: what
// becomes a container, most of all.
func (b *bench) cpu() (s spent) {
	var children [2]time.Duration
	s.server, children[0] = cpuOf(b.status.PID)
	s.keeper, children[1] = cpuOf(b.status.KeeperPID)
	s.children = children[0] + children[1]
	return s
}

// cpuOf a process, and of those that it has waited for (proc_pid_stat(5)).
func cpuOf(pid int) (own, children time.Duration) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	ticks := func(field int) time.Duration {
		n, _ := strconv.ParseInt(fields[field], 10, 64)
		return time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	}
	return ticks(11) + ticks(12), ticks(13) + ticks(14) // utime, stime, cutime, cstime
}
