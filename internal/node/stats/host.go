package stats

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of CPU times in /proc/stat; it is 100 for all that Linux tells programs.
const userHZ = 100

// Host is a sample of the machine.
type Host struct {
	At   time.Time
	Boot time.Time
	// CPU is the time that all CPUs together were busy since boot.
	CPU time.Duration
	// Bytes of memory. Working set is what can't be freed without loss: all but free memory and old file cache.
	Total, Used, WorkingSet, RSS uint64
	Swap, SwapFree               uint64
	PageFaults, MajorFaults      uint64
	// Interfaces but loopback.
	Interfaces []Interface
	MaxPID     int64
	Processes  int64
}

// Interface counts what went through a network link.
type Interface struct {
	Name                                 string
	RxBytes, RxErrors, TxBytes, TxErrors uint64
}

// Available is what pods may still take.
func (h *Host) Available() uint64 {
	if h.WorkingSet > h.Total {
		return 0
	}
	return h.Total - h.WorkingSet
}

// ReadHost samples the machine whose /proc is below root.
func ReadHost(root fs.FS, now time.Time) (Host, error) {
	h := Host{At: now}
	memory, err := table(root, "proc/meminfo", ":")
	if err != nil {
		return Host{}, err
	}
	kib := func(name string) uint64 { return memory[name] * 1024 }
	h.Total, h.RSS, h.Swap, h.SwapFree = kib("MemTotal"), kib("AnonPages"), kib("SwapTotal"), kib("SwapFree")
	h.Used = h.Total - min(kib("MemFree"), h.Total)
	h.WorkingSet = h.Used - min(kib("Inactive(file)"), h.Used)
	faults, err := table(root, "proc/vmstat", " ")
	if err != nil {
		return Host{}, err
	}
	h.PageFaults, h.MajorFaults = faults["pgfault"], faults["pgmajfault"]
	if err := h.readStat(root); err != nil {
		return Host{}, err
	}
	h.Interfaces = interfaces(root)
	h.MaxPID = number(root, "proc/sys/kernel/pid_max")
	if threads := number(root, "proc/sys/kernel/threads-max"); threads > 0 && threads < h.MaxPID {
		h.MaxPID = threads
	}
	h.Processes = processes(root)
	return h, nil
}

// table reads "name<separator> number …" lines.
func table(root fs.FS, name, separator string) (map[string]uint64, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, fmt.Errorf("sample of the machine: %w", err)
	}
	out := map[string]uint64{}
	for line := range strings.SplitSeq(string(data), "\n") {
		key, rest, _ := strings.Cut(line, separator)
		if words := strings.Fields(rest); len(words) > 0 {
			if n, err := strconv.ParseUint(words[0], 10, 64); err == nil {
				out[key] = n
			}
		}
	}
	return out, nil
}

// readStat reads the CPU's times (user, nice, system, irq, softirq, steal; neither idle nor waiting) and the time of boot.
func (h *Host) readStat(root fs.FS) error {
	data, err := fs.ReadFile(root, "proc/stat")
	if err != nil {
		return fmt.Errorf("sample of the machine: %w", err)
	}
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		words := strings.Fields(scan.Text())
		switch {
		case len(words) >= 9 && words[0] == "cpu":
			ticks := uint64(0)
			for _, i := range []int{1, 2, 3, 6, 7, 8} {
				n, err := strconv.ParseUint(words[i], 10, 64)
				if err != nil {
					return fmt.Errorf("CPU times in /proc/stat: %w", err)
				}
				ticks += n
			}
			h.CPU = time.Duration(ticks) * (time.Second / userHZ)
		case len(words) == 2 && words[0] == "btime":
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				h.Boot = time.Unix(n, 0)
			}
		}
	}
	return nil
}

func interfaces(root fs.FS) []Interface {
	data, err := fs.ReadFile(root, "proc/net/dev")
	if err != nil {
		return nil
	}
	var out []Interface
	for line := range strings.SplitSeq(string(data), "\n") {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		words := strings.Fields(rest)
		if !ok || name == "lo" || len(words) < 11 {
			continue
		}
		at := func(i int) uint64 {
			n, err := strconv.ParseUint(words[i], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
		out = append(out, Interface{Name: name, RxBytes: at(0), RxErrors: at(2), TxBytes: at(8), TxErrors: at(10)})
	}
	return out
}

func number(root fs.FS, name string) int64 {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// processes is the number of threads, which is what takes PIDs: the second number of loadavg's "1/234".
func processes(root fs.FS) int64 {
	data, err := fs.ReadFile(root, "proc/loadavg")
	words := strings.Fields(string(data))
	if err != nil || len(words) < 4 {
		return 0
	}
	_, all, _ := strings.Cut(words[3], "/")
	n, err := strconv.ParseInt(all, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// FileSystem is a sample of a file system.
type FileSystem struct {
	Capacity, Available, Used      uint64
	Inodes, InodesFree, InodesUsed uint64
}

// ReadFileSystem samples the file system that holds path. Available is what non-root users have.
func ReadFileSystem(path string) (FileSystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return FileSystem{}, fmt.Errorf("sample of the file system of %s: %w", path, err)
	}
	unit := uint64(s.Frsize)
	return FileSystem{
		Capacity: s.Blocks * unit, Available: s.Bavail * unit, Used: (s.Blocks - s.Bfree) * unit,
		Inodes: s.Files, InodesFree: s.Ffree, InodesUsed: s.Files - s.Ffree,
	}, nil
}

// Apart tells whether two folders are on different file systems.
func Apart(a, b string) bool {
	var first, second unix.Stat_t
	return unix.Stat(a, &first) == nil && unix.Stat(b, &second) == nil && first.Dev != second.Dev
}
