package cgroup

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Stats reads the counters of a cgroup. A controller that is not there leaves
// its part zero; a cgroup that is not there at all is fs.ErrNotExist.
func (h Hierarchies) Stats(path string) (keeper.Stats, error) {
	s := keeper.Stats{ID: path, At: time.Now()}
	dir := h.dir("memory", path)
	if dir == "" {
		dir = h.processDir(path)
	}
	if dir == "" {
		return s, fs.ErrNotExist
	}
	if _, err := os.Stat(dir); err != nil {
		return s, err
	}
	if h.Unified != "" {
		h.statsV2(dir, &s)
	} else {
		h.statsV1(path, &s)
	}
	return s, nil
}

func (h Hierarchies) statsV2(dir string, s *keeper.Stats) {
	in := func(file string) string { return filepath.Join(dir, file) }
	cpu := readKeys(in("cpu.stat"))
	s.CPU = keeper.CPUStats{
		Usage: cpu["usage_usec"] * 1000, User: cpu["user_usec"] * 1000, System: cpu["system_usec"] * 1000,
		Periods: cpu["nr_periods"], ThrottledPeriods: cpu["nr_throttled"], Throttled: cpu["throttled_usec"] * 1000,
		Pressure: readPressure(in("cpu.pressure")),
	}
	m := readKeys(in("memory.stat"))
	s.Memory = keeper.MemoryStats{
		Usage: readNumber(in("memory.current")), RSS: m["anon"], Cache: m["file"],
		Swap: readNumber(in("memory.swap.current")), Limit: readNumber(in("memory.max")),
		PageFaults: m["pgfault"], MajorPageFaults: m["pgmajfault"],
		OOMKills: readKeys(in("memory.events"))["oom_kill"], Pressure: readPressure(in("memory.pressure")),
	}
	s.Memory.WorkingSet = s.Memory.Usage - min(s.Memory.Usage, m["inactive_file"])
	s.PIDs, s.PIDLimit = readNumber(in("pids.current")), readNumber(in("pids.max"))
}

// userHz is the unit of the user and system times of v1: USER_HZ is 100 on
// every architecture that Go runs on.
const userHz = 100

// noLimit is what v1 says for none: the largest number of whole pages.
const noLimit = 1 << 62

func (h Hierarchies) statsV1(path string, s *keeper.Stats) {
	if dir := h.dir("cpuacct", path); dir != "" {
		times := readKeys(filepath.Join(dir, "cpuacct.stat"))
		s.CPU.Usage = readNumber(filepath.Join(dir, "cpuacct.usage"))
		s.CPU.User = times["user"] * (1e9 / userHz)
		s.CPU.System = times["system"] * (1e9 / userHz)
	}
	if dir := h.dir("cpu", path); dir != "" {
		throttling := readKeys(filepath.Join(dir, "cpu.stat"))
		s.CPU.Periods, s.CPU.ThrottledPeriods = throttling["nr_periods"], throttling["nr_throttled"]
		s.CPU.Throttled = throttling["throttled_time"]
	}
	if dir := h.dir("memory", path); dir != "" {
		m := readKeys(filepath.Join(dir, "memory.stat"))
		s.Memory = keeper.MemoryStats{
			Usage: readNumber(filepath.Join(dir, "memory.usage_in_bytes")),
			RSS:   m["total_rss"], Cache: m["total_cache"], Swap: m["total_swap"],
			Limit:      readNumber(filepath.Join(dir, "memory.limit_in_bytes")),
			PageFaults: m["total_pgfault"], MajorPageFaults: m["total_pgmajfault"],
			OOMKills: h.OOMKills(path),
		}
		if s.Memory.Limit > noLimit {
			s.Memory.Limit = 0
		}
		s.Memory.WorkingSet = s.Memory.Usage - min(s.Memory.Usage, m["total_inactive_file"])
	}
	if dir := h.dir("pids", path); dir != "" {
		s.PIDs, s.PIDLimit = readNumber(filepath.Join(dir, "pids.current")), readNumber(filepath.Join(dir, "pids.max"))
	}
}

// readKeys reads a file of "key number" lines; what it can't read is missing.
func readKeys(file string) map[string]uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	keys := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			keys[key] = n
		}
	}
	return keys
}

// readNumber reads a file of one number; "max" and what it can't read are 0.
func readNumber(file string) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// readPressure reads a PSI file (Documentation/accounting/psi.rst), nil
// without one.
func readPressure(file string) *keeper.Pressure {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var p keeper.Pressure
	for line := range strings.Lines(string(text)) {
		kind, rest, _ := strings.Cut(line, " ")
		into := &p.Some
		if kind == "full" {
			into = &p.Full
		}
		for field := range strings.FieldsSeq(rest) {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "avg10":
				into.Avg10, _ = strconv.ParseFloat(value, 64)
			case "avg60":
				into.Avg60, _ = strconv.ParseFloat(value, 64)
			case "avg300":
				into.Avg300, _ = strconv.ParseFloat(value, 64)
			case "total":
				into.Total, _ = strconv.ParseUint(value, 10, 64)
			}
		}
	}
	return &p
}
