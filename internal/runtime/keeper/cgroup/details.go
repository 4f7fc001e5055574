package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Details are what statistics leave out: figures that only a monitoring system
// asks for. What the kernel does not tell is zero.
type Details struct {
	// Memory, in bytes; failures count how often the limit was hit.
	Kernel, Mapped, MaxUsage uint64
	LimitFailures            uint64
	Devices                  []DeviceIO
	HugePages                []HugeUsage
	IOPressure               *keeper.Pressure // cgroup v2 only
	Threads, ThreadLimit     uint64
	Processes, Files         int // members, and the descriptors they have open
	Sockets                  int
}

// DeviceIO is what was read from and written to one block device.
type DeviceIO struct {
	Major, Minor            uint64
	ReadBytes, WrittenBytes uint64
	Reads, Writes           uint64
}

// HugeUsage is the use of one size of huge pages, in bytes.
type HugeUsage struct {
	Size       string // as the kernel has it: "2MB"
	Usage, Max uint64
}

// Details reads them all; it looks at every process, so it is not for every second.
func (h Hierarchies) Details(path string) Details {
	var d Details
	if h.Unified != "" {
		h.detailsV2(path, &d)
	} else {
		h.detailsV1(path, &d)
	}
	if dir := h.dir("pids", path); dir != "" {
		d.Threads, d.ThreadLimit = readNumber(filepath.Join(dir, "pids.current")), readNumber(filepath.Join(dir, "pids.max"))
	}
	pids, err := h.PIDs(path)
	if err != nil {
		return d // it has just gone
	}
	d.Processes = len(pids)
	for _, pid := range pids {
		files, sockets := descriptors("/proc/" + strconv.Itoa(pid) + "/fd")
		d.Files, d.Sockets = d.Files+files, d.Sockets+sockets
	}
	return d
}

func (h Hierarchies) detailsV1(path string, d *Details) {
	if dir := h.dir("memory", path); dir != "" {
		in := func(file string) uint64 { return readNumber(filepath.Join(dir, file)) }
		d.Kernel, d.MaxUsage, d.LimitFailures = in("memory.kmem.usage_in_bytes"), in("memory.max_usage_in_bytes"), in("memory.failcnt")
		d.Mapped = readKeys(filepath.Join(dir, "memory.stat"))["total_mapped_file"]
	}
	if dir := h.dir("blkio", path); dir != "" {
		devices := deviceTable{}
		devices.readV1(filepath.Join(dir, "blkio.throttle.io_service_bytes_recursive"), func(d *DeviceIO) (r, w *uint64) { return &d.ReadBytes, &d.WrittenBytes })
		devices.readV1(filepath.Join(dir, "blkio.throttle.io_serviced_recursive"), func(d *DeviceIO) (r, w *uint64) { return &d.Reads, &d.Writes })
		d.Devices = devices.sorted()
	}
	if dir := h.dir("hugetlb", path); dir != "" {
		d.HugePages = hugePages(dir, "usage_in_bytes", "max_usage_in_bytes")
	}
}

func (h Hierarchies) detailsV2(path string, d *Details) {
	dir := h.dir("", path)
	m := readKeys(filepath.Join(dir, "memory.stat"))
	d.Kernel, d.Mapped = m["kernel"], m["file_mapped"]
	d.MaxUsage = readNumber(filepath.Join(dir, "memory.peak"))
	d.LimitFailures = readKeys(filepath.Join(dir, "memory.events"))["max"]
	devices := deviceTable{}
	devices.readV2(filepath.Join(dir, "io.stat"))
	d.Devices = devices.sorted()
	d.HugePages = hugePages(dir, "current", "")
	d.IOPressure = readPressure(filepath.Join(dir, "io.pressure"))
}

// deviceTable collects lines of several files by device ("8:0").
type deviceTable map[string]*DeviceIO

func (t deviceTable) get(name string) *DeviceIO {
	if t[name] == nil {
		major, minor, ok := strings.Cut(name, ":")
		first, err1 := strconv.ParseUint(major, 10, 64)
		second, err2 := strconv.ParseUint(minor, 10, 64)
		if !ok || err1 != nil || err2 != nil {
			return nil
		}
		t[name] = &DeviceIO{Major: first, Minor: second}
	}
	return t[name]
}

func (t deviceTable) sorted() []DeviceIO {
	var out []DeviceIO
	for _, d := range t {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b DeviceIO) int { return int(a.Major<<20+a.Minor) - int(b.Major<<20+b.Minor) })
	return out
}

// readV1 reads lines like "8:0 Read 4096".
func (t deviceTable) readV1(file string, fields func(*DeviceIO) (r, w *uint64)) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue // "Total 4096"
		}
		d := t.get(words[0])
		n, err := strconv.ParseUint(words[2], 10, 64)
		if d == nil || err != nil {
			continue
		}
		read, written := fields(d)
		switch words[1] {
		case "Read":
			*read = n
		case "Write":
			*written = n
		}
	}
}

// readV2 reads lines like "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func (t deviceTable) readV2(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, " ")
		d := t.get(name)
		if d == nil {
			continue
		}
		into := map[string]*uint64{"rbytes": &d.ReadBytes, "wbytes": &d.WrittenBytes, "rios": &d.Reads, "wios": &d.Writes}
		for field := range strings.FieldsSeq(rest) {
			key, value, _ := strings.Cut(field, "=")
			if n, err := strconv.ParseUint(value, 10, 64); err == nil && into[key] != nil {
				*into[key] = n
			}
		}
	}
}

// hugePages reads hugetlb.<size>.<file> for every size that the kernel has.
func hugePages(dir, usage, most string) []HugeUsage {
	files, err := filepath.Glob(filepath.Join(dir, "hugetlb.*."+usage))
	if err != nil {
		return nil
	}
	var out []HugeUsage
	for _, file := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "hugetlb."), "."+usage)
		if strings.Contains(size, ".") {
			continue // hugetlb.2MB.rsvd.current
		}
		u := HugeUsage{Size: size, Usage: readNumber(file)}
		if most != "" {
			u.Max = readNumber(filepath.Join(dir, "hugetlb."+size+"."+most))
		}
		out = append(out, u)
	}
	return out
}

// descriptors counts what a process has open, as far as we may look.
func descriptors(dir string) (files, sockets int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		files++
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	return files, sockets
}
